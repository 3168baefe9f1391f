"""The main job through the command line, on a host of this machine (no SSH) and its agent."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until

TRAIN = """
import os, pathlib, sys
out = pathlib.Path(os.environ["ORCH_OUTPUT_DIR"])
print("hello from", os.environ["ORCH_JOB_NAME"], *sys.argv[1:])
(out / "answer.txt").write_text("42\\n")
pathlib.Path("made.bin").write_bytes(bytes(range(256)) * 100)
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    made.write("train.py", TRAIN)
    made.orch("host", "add", "here", "local")
    return made


def test_submit_follows_pulls_and_exits_zero(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: python train.py}}\n")
    done = laptop.orch("submit", "jobs.yaml")
    assert "hello from train" in done.stdout
    (folder,) = (laptop.folder / "results").glob("s-*/train")
    assert (folder / "answer.txt").read_text() == "42\n"
    assert (folder / "made.bin").read_bytes() == bytes(range(256)) * 100
    assert "hello from train" in (folder / "log").read_text()
    assert json.loads((folder / "job.json").read_text())["state"] == "SUCCEEDED"
    assert not (folder / "train.py").exists(), "code that did not change stays where it is"
    assert (folder.parent / "summary.csv").exists()


def test_a_failed_job_shows_why_and_exits_one(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: 'echo before; exit 3'}}\n")
    done = laptop.orch("submit", code=1)
    assert "before" in done.stdout
    assert "exit code 3" in done.stderr
    (job,) = laptop.json("status")["jobs"]
    assert (job["state"], job["reason"], job["exit_code"]) == ("FAILED", "exit_nonzero", 3)
    assert "exit code 3" in laptop.orch("show", "train").stdout
    assert laptop.orch("wait", "train", code=1)


def test_matrix_cells_run_with_their_values(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs:\n  train:\n    run: python train.py ${{ matrix.args }}\n    matrix: {lr: [1e-3, 1e-4]}\n")
    done = laptop.orch("submit")
    assert "hello from train.1 --lr=1e-3" in done.stdout
    assert "hello from train.2 --lr=1e-4" in done.stdout
    assert {job["params"]["lr"] for job in laptop.json("status")["jobs"]} == {"1e-3", "1e-4"}


def test_what_was_submitted_runs_although_the_code_changed(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: cat data.txt, setup: 'until [ -e \"$HOME/go\" ]; do sleep 0.05; done'}}\n")
    laptop.write("data.txt", "as submitted\n")
    told = laptop.json("submit", "-d")
    laptop.write("data.txt", "changed later\n")
    (laptop.home / "go").touch()
    laptop.orch("wait", told["submission"])
    assert laptop.orch("logs", told["submission"]).stdout == "as submitted\n"


def test_from_another_orch_home(laptop: Laptop, tmp_path: Path) -> None:
    laptop.jobs_yaml("project: digits\njobs: {train: {run: python train.py}}\n")
    laptop.orch("submit", "-d")
    other = Laptop(laptop.home, tmp_path / "elsewhere", env={"ORCH_HOME": str(tmp_path / "second")})
    other.orch("host", "add", "box", "local")
    other.orch("wait", "train", "-p", "digits")
    assert "hello from train" in other.orch("logs", "train", "-p", "digits").stdout
    other.orch("pull", "train", "-p", "digits")
    (folder,) = (other.folder / "results").glob("s-*/train")
    assert (folder / "answer.txt").read_text() == "42\n"


def test_closing_the_laptop_during_a_run(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: 'echo one; until [ -e ~/go ]; do sleep 0.05; done; echo two'}}\n")
    running = laptop.start("submit")
    assert running.stdout is not None
    wait_until(lambda: running.stdout and "one" in running.stdout.readline(), 60)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    (laptop.home / "go").touch()
    laptop.orch("wait", "train")
    assert laptop.orch("logs", "train").stdout == "one\ntwo\n"


def test_ctrl_c_detaches_and_says_the_way_back(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: 'echo one; until [ -e ~/go ]; do sleep 0.05; done'}}\n")
    running = laptop.start("submit")
    assert running.stdout is not None
    wait_until(lambda: running.stdout and "one" in running.stdout.readline(), 60)
    os.kill(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "orch attach s-" in errors
    (laptop.home / "go").touch()
    laptop.orch("attach")
    assert list((laptop.folder / "results").glob("s-*/train/log"))


def test_cancel_and_retry(laptop: Laptop) -> None:
    run = "if [ $ORCH_ATTEMPT = 1 ]; then sleep 600; fi; echo attempt $ORCH_ATTEMPT"
    laptop.jobs_yaml(f"jobs: {{train: {{run: '{run}'}}}}\n")
    (job,) = laptop.json("submit", "-d")["jobs"]
    wait_until(lambda: laptop.json("status")["jobs"][0]["state"] == "RUNNING", 60)
    laptop.orch("cancel", job["id"])
    laptop.orch("wait", job["id"], code=1)
    assert laptop.json("show", job["id"])["state"] == "CANCELLED"
    laptop.orch("cancel", job["id"])
    laptop.orch("retry", job["id"])
    laptop.orch("wait", job["id"])
    shown = laptop.json("show", job["id"])
    assert (shown["state"], shown["attempt"]) == ("SUCCEEDED", 2)
    assert laptop.orch("logs", job["id"]).stdout == "attempt 2\n"


def test_an_identical_live_job_is_refused(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: sleep 600}}\n")
    laptop.orch("submit", "-d")
    assert "--again" in laptop.orch("submit", "-d", code=4).stderr
    laptop.orch("submit", "-d", "--again")
    laptop.orch("cancel", "--all", "-y")


def test_dry_run_sends_nothing(laptop: Laptop) -> None:
    laptop.write("notes.pyc", "x")
    laptop.jobs_yaml("jobs: {train: {run: python train.py}}\n")
    done = laptop.orch("submit", "--dry-run")
    assert "train.py" in done.stdout
    assert "notes.pyc" in done.stderr
    assert laptop.json("status")["jobs"] == []


def test_a_secret_reaches_the_job_and_stays_nowhere(laptop: Laptop) -> None:
    value = "correct-horse-battery"
    laptop.jobs_yaml("jobs: {train: {run: 'echo ${#MY_KEY}; env | grep -c ^MY_KEY=', secrets: [MY_KEY]}}\n")
    assert "MY_KEY" in laptop.orch("submit", code=2).stderr
    done = laptop.orch("submit", env={"MY_KEY": value})
    assert done.stdout.splitlines()[-2:] == [f"train │ {len(value)}", "train │ 1"]
    for path in [*laptop.home.rglob("*"), *laptop.folder.rglob("*")]:
        if path.is_file():
            assert value.encode() not in path.read_bytes(), path


def test_run_without_a_file(laptop: Laptop) -> None:
    done = laptop.orch("run", "--", "echo", "two  blanks", "$HOME", "it's")
    assert "two  blanks $HOME it's" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs:\n  train:\n    rum: x\n", "jobs.yaml:3:5"),
        ("jobs:\n  train: {run: x}\n  train: {run: y}\n", "jobs.yaml:3:3"),
        ("jobs:\n\ttrain: {}\n", "jobs.yaml:2"),
        ("jobs: {train: {run: x, hosts: nowhere}}\n", "nowhere"),
        ("jobs: {train: {run: x, matrix: {lr: []}}}\n", "jobs.yaml:1"),
        ("jobs: {train: {run: 'x ${{ matrix.lr }}'}}\n", "jobs.yaml:1"),
    ],
)
def test_bad_input_is_one_sentence_with_its_place(laptop: Laptop, text: str, said: str) -> None:
    laptop.jobs_yaml(text)
    done = laptop.orch("submit", code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert laptop.json("status", "-A")["jobs"] == []


def test_no_host_at_all_says_what_to_type(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "project")
    laptop.jobs_yaml("jobs: {train: {run: x}}\n")
    done = laptop.orch("submit", code=2)
    assert "orch host add" in done.stderr


def test_exec_passes_code_and_output(laptop: Laptop) -> None:
    done = laptop.orch("exec", "here", "--", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_check_and_gc_and_host_verbs(laptop: Laptop) -> None:
    (host,) = laptop.json("check")["hosts"]
    assert host["reachable"] and host["facts"]["python"]["version"]
    assert "here" in laptop.orch("host", "list").stdout
    laptop.orch("host", "rename", "here", "there")
    assert "there" in laptop.orch("host", "show", "there").stdout
    assert "removed" in laptop.json("gc", "--dry-run")["there"]
    laptop.orch("host", "rm", "there")
    assert laptop.orch("host", "list", code=2)


def test_init_schema_version_and_help(laptop: Laptop) -> None:
    laptop.orch("init")
    assert "python train.py" in (laptop.folder / "jobs.yaml").read_text()
    laptop.orch("init", code=4)
    laptop.orch("submit", "--dry-run")
    assert json.loads(laptop.orch("schema").stdout)["type"] == "object"
    assert laptop.orch("--version").stdout.startswith("orch ")
    for verb in ("submit", "status", "host", "logs"):
        assert "Usage" in laptop.orch(verb, "--help").stdout


def test_a_second_name_for_the_same_machine_is_noticed_and_its_jobs_are_shown_once(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: echo hi, hosts: here}}\n")
    laptop.orch("submit")
    told = laptop.orch("host", "add", "again", "local")
    assert "same machine as here" in told.stderr
    jobs = laptop.json("status")["jobs"]
    assert [(job["name"], job["host"]) for job in jobs] == [("train", "here")]


def test_an_environment_that_is_not_there_is_refused_with_those_that_are(laptop: Laptop) -> None:
    for name in ("pytorch", "tf2"):
        python = laptop.home / "miniconda3" / "envs" / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
    (laptop.home / "miniconda3" / "conda-meta").mkdir()
    (laptop.home / "miniconda3" / "bin").mkdir()
    (laptop.home / "miniconda3" / "bin" / "python").symlink_to(sys.executable)
    laptop.jobs_yaml("jobs: {train: {run: python train.py, python: {conda: pytorhc}}}\n")
    refused = laptop.orch("submit", code=4).stderr
    assert "'pytorhc'" in refused and "pytorch" in refused and "tf2" in refused
    assert "no submit was interrupted" in laptop.orch("submit", "--resume").stderr
    assert laptop.json("status")["jobs"] == []
