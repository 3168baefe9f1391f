"""What a person at a terminal sees while jobs run, and what their keys do. The host is this machine."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.cli import Laptop
from tests.harness.terminal import Terminal
from tests.harness.waiting import wait_until

HOLD = "until [ -e ~/go ]; do sleep 0.05; done"
NASTY = (
    b"colour \x1b[31mred\x1b[0m \x1b]0;title\x07end\n"
    b"markup [red]loud[/red] [link=http://x]y[/link]\n"
    b"bytes \xff\xfe bell\x07 back\x1b[2J\x1b[H home\n"
    b"reversed \xe2\x80\xaegnihton\xe2\x80\xac here\n"
    b"long " + b"x" * 20_000 + b"\n"
    b"last\n"
)


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    made.orch("host", "add", "here", "local")
    yield made
    (made.home / "go").touch()


def live(laptop: Laptop) -> list[str]:
    return [job["state"] for job in laptop.json("status")["jobs"]]


def test_every_job_is_tailed_under_its_own_colour(laptop: Laptop) -> None:
    laptop.jobs_yaml(f"jobs:\n  train: {{run: 'echo from $ORCH_JOB_NAME; {HOLD}', matrix: {{lr: [1, 2]}}}}\n")
    with Terminal(laptop, "submit") as terminal:
        terminal.wait_for("train.1 │ from train.1")
        terminal.wait_for("train.2 │ from train.2")
        first, second = terminal.colour_of("train.1 │ from"), terminal.colour_of("train.2 │ from")
        assert "default" not in (first, second) and first != second
        # The table below the lines.
        terminal.wait_for(lambda text: len(re.findall(r"^train\.[12]  RUNNING +here ", text, re.MULTILINE)) == 2)
        (laptop.home / "go").touch()
        assert terminal.wait() == 0
    closing = "\n".join(terminal.screen())
    assert re.search(r"train\.1  SUCCEEDED  0 .* here  results/s-\w+/train\.1 \(0 files\)", closing)
    assert "RUNNING" not in closing, "what was drawn while they ran is gone"


def test_progress_bars_collapse_to_their_last_state(laptop: Laptop) -> None:
    laptop.write(
        "bar.py", "for n in range(1, 101): print(f'\\r{n:3}%|{\"#\" * (n // 10):10}| {n}/100', end='')\nprint()\n"
    )
    laptop.jobs_yaml(f"jobs: {{train: {{run: \"python bar.py; printf ' 7%%|#  | 7/99'; {HOLD}\"}}}}\n")
    with Terminal(laptop, "submit") as terminal:
        terminal.wait_for("train │ 100%|##########| 100/100")
        # The unfinished bar stands in the table, not among the lines.
        terminal.wait_for(lambda text: bool(re.search(r"train  RUNNING .*7%\|#  \| 7/99", text)))
        assert "│  7%" not in terminal.text()
        (laptop.home / "go").touch()
        assert terminal.wait() == 0
    lines = [row for row in terminal.history() if "│" in row and "%" in row]
    assert lines == ["train │ 100%|##########| 100/100", "train │  7%|#  | 7/99"]


def test_more_than_six_live_jobs_are_a_table(laptop: Laptop) -> None:
    laptop.jobs_yaml(
        "jobs:\n  train:\n    run: |\n      echo noise\n"
        f"      {HOLD}\n      [ $ORCH_JOB_NAME != train.2 ] || {{ seq 30; exit 5; }}\n"
        "    matrix: {n: [1, 2, 3, 4, 5, 6, 7]}\n"
    )
    with Terminal(laptop, "submit", size=(80, 9)) as terminal:
        terminal.wait_for(lambda text: bool(re.search(r"7 jobs: \d running, \d pending", text)))
        # Running jobs stand first.
        terminal.wait_for(lambda text: bool(re.search(r"^job +state.*\n.* RUNNING ", text, re.MULTILINE)))
        assert "noise" not in terminal.text()
        (laptop.home / "go").touch()
        assert terminal.wait() == 1
    text = terminal.text()
    told = text[text.index("  11\n") :]
    assert told.index("  30\n") < told.index("train.2: the command ended with an error (exit code 5)")
    assert "  10\n" not in text, "the last 20 lines, no more"
    assert len(re.findall(r"^train\.\d  (?:SUCCEEDED|FAILED) ", text, re.MULTILINE)) == 7


def test_a_failed_job_among_others_shows_its_last_lines_and_why(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {good: {run: echo fine}, bad: {run: 'seq 25; echo oh dear >&2; exit 3'}}\n")
    with Terminal(laptop, "submit", size=(100, 60)) as terminal:
        assert terminal.wait() == 1
    rows = terminal.history()
    at = rows.index("bad: the command ended with an error (exit code 3)")
    assert rows[at - 20 : at] == [*(f"  {n}" for n in range(7, 26)), "  oh dear"]
    with Terminal(laptop, "wait", "bad") as terminal:
        assert terminal.wait() == 1
        assert "  oh dear" in terminal.history()


def test_hostile_output_is_harmless_and_comes_home_untouched(laptop: Laptop) -> None:
    (laptop.folder / "nasty.bin").write_bytes(NASTY)
    laptop.jobs_yaml("jobs: {a: {run: cat nasty.bin}, b: {run: cat nasty.bin}}\n")
    for words in (("submit",), ("logs",), ("logs", "a")):
        with Terminal(laptop, *words, size=(100, 40)) as terminal:
            terminal.wait()
        text = terminal.text()
        assert "colour red end" in text
        assert "markup [red]loud[/red] [link=http://x]y[/link]" in text
        assert "bytes \ufffd\ufffd bell back home" in text
        assert "reversed gnihton here" in text
        for evil in (b"\x1b]0;", b"\x07", b"\x1b[2J", b"\xff", "\u202e".encode()):
            assert evil not in terminal.raw
        assert b"x" * 9_000 in terminal.raw.replace(b"\r\n", b"") and b"x" * 10_000 not in terminal.raw
    assert laptop.output("logs", "a") == NASTY
    (log,) = (laptop.folder / "results").glob("s-*/a/log")
    assert log.read_bytes() == NASTY


def test_ctrl_c_after_the_acknowledgement_detaches(laptop: Laptop) -> None:
    laptop.jobs_yaml(f"jobs: {{train: {{run: 'echo one; {HOLD}; echo two'}}}}\n")
    with Terminal(laptop, "submit") as terminal:
        terminal.wait_for("train │ one")
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
        back = re.search(r"Back: (orch attach s-\w+)", terminal.text())
        assert back and "Traceback" not in terminal.text()
        assert "RUNNING" not in "\n".join(terminal.screen()), "nothing half-drawn stays"
    assert live(laptop) == ["RUNNING"]
    with Terminal(laptop, *back[1].split()[1:]) as terminal:
        terminal.wait_for("train │ one")
        (laptop.home / "go").touch()
        assert terminal.wait() == 0
        assert "train │ two" in terminal.text()
    assert list((laptop.folder / "results").glob("s-*/train/log"))


def test_quiet_shows_only_what_jobs_write_and_the_way_back(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {a: {run: echo hello}}\n")
    done = laptop.orch("submit", "-q")
    assert (done.stdout, done.stderr) == ("a │ hello\n", "")
    laptop.jobs_yaml(f"jobs: {{a: {{run: 'echo one; {HOLD}'}}, b: {{run: 'echo lost >&2; exit 4'}}}}\n")
    with Terminal(laptop, "-q", "submit") as terminal:
        terminal.wait_for("b │ lost")
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
        assert "orch attach s-" in terminal.text()
    (laptop.home / "go").touch()
    done = laptop.orch("wait", "-q", code=1)
    assert done.stdout == "" and "lost" in done.stderr
    assert done.stderr.splitlines()[-1] == "b: the command ended with an error (exit code 4)"


def test_a_state_that_is_none_is_a_sentence(laptop: Laptop) -> None:
    assert "Did you mean running?" in laptop.orch("status", "--state", "runing", code=2).stderr


def test_a_second_ctrl_c_changes_nothing(laptop: Laptop) -> None:
    laptop.jobs_yaml(f"jobs: {{train: {{run: 'echo one; {HOLD}'}}}}\n")
    with Terminal(laptop, "submit") as terminal:
        terminal.wait_for("train │ one")
        terminal.press("ctrl-c")
        terminal.press("ctrl-c")
        assert terminal.wait() in (130, -signal.SIGINT)
        assert "Traceback" not in terminal.text() and "Exception" not in terminal.text()
    assert live(laptop) == ["RUNNING"]


@pytest.mark.parametrize("words", [("wait",), ("logs", "-f"), ("attach",)])
def test_ctrl_c_ends_what_only_looks(laptop: Laptop, words: tuple[str, ...]) -> None:
    laptop.jobs_yaml(f"jobs: {{train: {{run: 'echo one; {HOLD}'}}}}\n")
    laptop.orch("submit", "-d")
    wait_until(lambda: live(laptop) == ["RUNNING"], 60)
    with Terminal(laptop, *words) as terminal:
        if words != ("wait",):
            terminal.wait_for("one")
        else:
            wait_until(lambda: _threads(terminal.process.pid, "follow-"), 60)
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.text()
    assert live(laptop) == ["RUNNING"]


def _threads(pid: int, prefix: str) -> bool:
    names = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
    return any(name.startswith(prefix) for name in names) or len(names) > 4


def test_closing_the_terminal_harms_no_job(laptop: Laptop, tmp_path: Path) -> None:
    lines = "for i in $(seq 300); do echo line $i; done"
    laptop.jobs_yaml(
        f"project: digits\njobs: {{train: {{run: '{lines}; {HOLD}; {lines}; cp ~/go $ORCH_OUTPUT_DIR/'}}}}\n"
    )
    with Terminal(laptop, "submit") as terminal:
        terminal.wait_for("train │ line 300")
        terminal.hang_up()
        assert terminal.process.wait(30) == -signal.SIGHUP
    assert live(laptop) == ["RUNNING"]
    (laptop.home / "go").write_text("done")
    wanted = "".join(f"line {i}\n" for i in range(1, 301)) * 2
    # Another laptop that knows nothing but the host.
    other = Laptop(laptop.home, tmp_path / "elsewhere", env={"ORCH_HOME": str(tmp_path / "second")})
    other.orch("host", "add", "box", "local")
    (job,) = laptop.json("status")["jobs"]
    assert "line 300" in other.orch("logs", job["id"]).stdout, "an id needs no project"
    for seat in (laptop, other):
        seat.orch("wait", "train", "-p", "digits")
        assert seat.orch("logs", "train", "-p", "digits").stdout == wanted
        seat.orch("pull", "train", "-p", "digits")
        (folder,) = (seat.folder / "results").glob("s-*/train")
        assert (folder / "log").read_text() == wanted
        assert (folder / "go").read_text() == "done"


def test_status_refreshes_in_place_with_progress_and_time_left(laptop: Laptop) -> None:
    laptop.write("tqdm.txt", "steps:  30%|###       | 3/10 [00:03<00:07,  1.00it/s]")
    laptop.jobs_yaml(
        "jobs:\n"
        f"  bar: {{run: 'cat tqdm.txt; {HOLD}'}}\n"
        f"  epochs: {{run: 'sleep 1; for i in 1 2 3; do echo epoch $i/10; done; {HOLD}'}}\n"
    )
    laptop.orch("submit", "-d")
    with Terminal(laptop, "status", "-w", "--interval", "0.2", size=(120, 20)) as terminal:
        terminal.wait_for(lambda text: bool(re.search(r"bar .* RUNNING .*step 3/10, 7s left", text)))
        terminal.wait_for(lambda text: bool(re.search(r"epochs .* RUNNING .*epoch 3/10, \d+s left", text)))
        (laptop.home / "go").touch()
        terminal.wait_for(lambda text: text.count("SUCCEEDED") == 2)
        assert len([row for row in terminal.history() if row.startswith("host")]) == 1, "drawn over, not below"
        terminal.press("ctrl-c")
        assert terminal.wait() == 130


def test_narrow_terminals_lose_nothing_that_matters(laptop: Laptop) -> None:
    width = 60
    laptop.jobs_yaml("jobs:\n  train: {run: 'echo hello; exit 3', matrix: {learning_rate: [0.001]}}\n")
    with Terminal(laptop, "submit", size=(width, 40)) as terminal:
        assert terminal.wait() == 1
        assert "train.1 │ hello" in terminal.text()
    for words in (("status",), ("show", "train.1"), ("wait", "train"), ("host", "list")):
        with Terminal(laptop, *words, size=(width, 60)) as terminal:
            terminal.wait()
            shown = terminal.text()
        assert "Traceback" not in shown
        if words[0] in ("status", "show", "wait"):
            assert "FAILED" in shown and "train.1" in shown
            assert "exit code 3" in shown.replace("\n", " ") or "exit code" in shown


def test_no_colour_where_none_is_wanted(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {a: {run: echo hello}, b: {run: exit 3}}\n")
    with Terminal(laptop, "submit", env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 1
        assert "a │ hello" in terminal.text()
    assert not re.search(rb"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|38)[0-9;]*m", terminal.raw)
    for words in (("status",), ("logs",), ("show", "b"), ("submit",)):
        done = laptop.orch(*words, code=None)
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "gbk"}, {"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C"}], ids=str
)
def test_a_terminal_that_is_not_utf_8(laptop: Laptop, env: dict[str, str]) -> None:
    laptop.jobs_yaml("jobs: {训练: {run: 'x'}}\n")
    with Terminal(laptop, "submit", env=env) as terminal:
        assert terminal.wait() == 2
        assert b"jobs.yaml:1:" in terminal.raw
    laptop.write("say.txt", "emoji \U0001f600 中文 é │\n")
    laptop.jobs_yaml("jobs: {a: {run: cat say.txt}, b: {run: 'cat say.txt; exit 1'}}\n")
    for words, code in ((("submit",), 1), (("status",), 0), (("logs",), 0)):
        with Terminal(laptop, *words, env=env) as terminal:
            assert terminal.wait() == code, terminal.text()
            assert b"Traceback" not in terminal.raw and b"bug in orch" not in terminal.raw
        if words == ("submit",):
            encoding = env.get("PYTHONIOENCODING", "utf-8")
            assert "emoji \U0001f600 中文".encode(encoding, "backslashreplace") in terminal.raw
    printed = laptop.orch("--json", "logs", "a", env=env).stdout
    assert json.loads(printed)["line"] == "emoji \U0001f600 中文 é │"


def test_json_is_one_event_a_line(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {a: {run: 'printf \"one\\r two\\n\\033[31mthree\"'}, b: {run: exit 3}}\n")
    done = laptop.orch("submit", "--json", code=1)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    first = events[0]
    assert first["event"] == "submitted" and {job["name"] for job in first["jobs"]} == {"a", "b"}
    assert set(first) == {"event", "submission", "jobs", "snapshot", "sent_files", "sent_bytes"}
    assert [event["line"] for event in events if event["event"] == "log"] == [" two", "three"]
    states = [event["state"] for event in events if event["event"] == "state" and event["name"] == "b"]
    assert states[-1] == "FAILED"
    ends = {event["job"]["name"]: event for event in events if event["event"] == "end"}
    assert ends["b"]["job"]["exit_code"] == 3
    assert Path(ends["a"]["results"]).is_dir()


def test_a_reader_that_has_enough_is_no_error(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {a: {run: seq 30000}, b: {run: seq 30000}}\n")
    laptop.orch("submit", "--no-pull")
    orch = " ".join(laptop.argv())
    for command in ("logs | head -1", "logs a | head -1", "--json logs | head -1", "schema | true", "--help | true",
                    "status | true", "submit --again | head -1"):  # fmt: skip
        script = f"set -o pipefail; {orch} {command}"
        with Terminal(laptop, argv=["bash", "-c", script]) as terminal:
            code = terminal.wait()
        shown = terminal.text()
        assert not re.search("Traceback|Broken|Exception|bug in orch", shown), f"{command}: {shown}"
        assert code in (0, 1, 128 + signal.SIGPIPE), command
