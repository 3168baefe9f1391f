"""What a person at a terminal sees when the host is a real sshd and the line to it is bad."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.harness.ssh_laptop import SshLaptop
from tests.harness.terminal import Terminal
from tests.harness.waiting import wait_until

HOLD = "until [ -e ~/go ]; do sleep 0.05; done"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[SshLaptop]:
    with SshLaptop(tmp_path) as made:
        yield made


def submissions(place: SshLaptop) -> list[Path]:
    """What the host has acknowledged."""
    return list(place.host_home.glob(".orch/hosts/*/spool/submits/s-*"))


def test_ctrl_c_before_the_acknowledgement_queues_nothing(place: SshLaptop) -> None:
    place.laptop.orch("check")
    (place.laptop.folder / "big.bin").write_bytes(Random(0).randbytes(3_000_000))
    place.laptop.jobs_yaml("jobs: {train: {run: echo never}}\n")
    place.proxy.rate = 200_000
    with Terminal(place.laptop, "submit") as terminal:
        terminal.wait_for(lambda text: bool(re.search(r"sending code to box .*[1-9]\d*/\d+", text)))
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
        assert "nothing is on any host" in terminal.text()
        assert "Traceback" not in terminal.text()
    place.proxy.rate = None
    assert submissions(place) == []
    assert place.laptop.json("status")["jobs"] == []
    place.laptop.jobs_yaml("jobs: {train: {run: echo now}}\n")
    done = place.laptop.orch("submit")
    assert "now" in done.stdout and "interrupted" not in done.stderr


def test_ctrl_c_while_the_acknowledgement_is_on_its_way(place: SshLaptop) -> None:
    place.laptop.jobs_yaml(f"jobs: {{train: {{run: 'echo one; {HOLD}'}}}}\n")
    place.laptop.orch("check")
    place.proxy.delay = 0.25
    with Terminal(place.laptop, "submit") as terminal:
        # The host has it; the laptop cannot know yet.
        wait_until(lambda: submissions(place), 60)
        assert "queued on" not in terminal.text()
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
        (sid,) = re.findall(r"orch attach (s-\w+)", terminal.text())
    place.proxy.delay = 0.0
    (job,) = place.laptop.json("status")["jobs"]
    assert job["submission"] == sid


def test_ctrl_c_when_the_line_is_dead_says_what_is_in_doubt(place: SshLaptop) -> None:
    place.laptop.jobs_yaml("jobs: {train: {run: echo one}}\n")
    place.laptop.orch("check")
    place.proxy.delay = 0.25
    with Terminal(place.laptop, "submit") as terminal:
        wait_until(lambda: submissions(place), 60)
        place.proxy.stalled = True
        terminal.press("ctrl-c")
        terminal.wait_for("waiting for its answer (Ctrl-C again: do not wait)")
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.text()
    place.proxy.stalled, place.proxy.delay = False, 0.0
    told = place.laptop.orch("submit", "--drop").stderr
    assert "box may have got it" in told


def test_logs_over_a_line_that_breaks_again_and_again(place: SshLaptop) -> None:
    lines = 4000
    loop = f"for i in $(seq {lines}); do echo line $i; [ $((i % 40)) != 0 ] || sleep 0.05; done"
    place.laptop.jobs_yaml(f"jobs: {{train: {{run: '{loop}'}}}}\n")
    place.laptop.orch("submit", "-d")
    wanted = "".join(f"line {n}\n" for n in range(1, lines + 1)).encode()
    command = subprocess.Popen(
        place.laptop.argv("logs", "-f", "train"),
        cwd=place.laptop.folder, env=place.laptop.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    got = bytearray()
    errors: list[bytes] = []
    assert command.stdout and command.stderr
    drain = threading.Thread(target=lambda stream=command.stderr: errors.append(stream.read()))
    drain.start()
    cuts, next_cut = 0, 3000
    while piece := command.stdout.read1(4096):  # type: ignore[attr-defined]
        got += piece
        if len(got) > next_cut and cuts < 5:
            place.proxy.cut()
            cuts, next_cut = cuts + 1, len(got) + 6000
    assert command.wait(60) == 0
    drain.join(10)
    assert cuts == 5
    assert bytes(got) == wanted
    assert errors[0].count(b"no connection") >= 1 and b"connected again" in errors[0]


def test_the_live_view_outlives_a_broken_line(place: SshLaptop) -> None:
    place.laptop.jobs_yaml(f"jobs: {{train: {{run: 'echo one; {HOLD}; echo two'}}}}\n")
    with Terminal(place.laptop, "submit") as terminal:
        terminal.wait_for("train │ one")
        place.proxy.refusing = True
        place.proxy.cut()
        terminal.wait_for("its jobs go on, trying again")
        terminal.wait_for("this is its last known state")
        place.go()
        place.proxy.refusing = False
        terminal.wait_for("box: connected again")
        assert terminal.wait() == 0
    assert [row for row in terminal.history() if row in ("train │ one", "train │ two")] == [
        "train │ one",
        "train │ two",
    ]
    assert list((place.laptop.folder / "results").glob("s-*/train/log"))


def test_status_watch_stays_on_one_connection(place: SshLaptop) -> None:
    place.laptop.jobs_yaml("jobs: {train: {run: 'for i in $(seq 400); do echo epoch $i/400; sleep 0.1; done'}}\n")
    place.laptop.orch("submit", "-d")
    place.proxy.reset_counts()
    with Terminal(place.laptop, "status", "-w", "--interval", "0.2", size=(120, 20)) as terminal:
        seen: set[str] = set()

        def three_states() -> bool:
            seen.update(re.findall(r"epoch (\d+)/400", "\n".join(terminal.screen())))
            return len(seen) >= 3

        wait_until(three_states, 60)
        assert place.proxy.connections == 1
        # A broken line is said in the table, and mended by itself.
        place.proxy.refusing = True
        place.proxy.cut()
        wait_until(lambda: "unreachable" in "\n".join(terminal.screen()), 30)
        assert "train" in "\n".join(terminal.screen()), "what was known stays"
        place.proxy.refusing = False
        wait_until(lambda: "unreachable" not in "\n".join(terminal.screen()), 60)
        terminal.press("ctrl-c")
        assert terminal.wait() == 130
    place.laptop.orch("cancel", "--all")


def test_a_new_host_key_is_asked_about_while_something_is_drawn(tmp_path: Path) -> None:
    with SshLaptop(tmp_path, known=False) as place:
        place.laptop.jobs_yaml("jobs: {train: {run: echo hello}}\n")
        with Terminal(place.laptop, "submit", size=(120, 30)) as terminal:
            terminal.wait_for("Trust it from now on? [y/N]")
            assert "SHA256:" in terminal.text()
            terminal.press("y")
            terminal.press("enter")
            assert terminal.wait() == 0
            assert "train │ hello" in terminal.text()
