"""The reader is read as well: a spool in order is silent, and each doctored one is found out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.faults.jobs import PRINTED, Witness
from tests.faults.reader import at_rest, in_motion, wrong_logs, wrong_results
from tests.faults.spoolfiles import read_spool
from tests.harness.waiting import wait_until

JOB = "j-aaaa1111"


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


class Desk:
    """A spool with one job that succeeded, written by hand."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "spool"
        self.witness = Witness(folder / "witness")
        spec = {"id": JOB, "job": "prints", "retry": {"max": 0, "on": []}}
        put(self.root / "submits" / "s-1.json", {"id": "s-1", "jobs": [spec]})
        self.attempt(1)
        (self.root / "keeper").mkdir()
        (self.root / "keeper" / "lock").touch()
        self.witness.effects.write_text(f"h1 {JOB} 1 77 begin\nh1 {JOB} 1 77 done\n")

    @property
    def try_1(self) -> Path:
        return self.root / "jobs" / JOB / "attempts" / "1"

    def attempt(self, number: int, job: str = JOB, share: int = 100, **end: Any) -> Path:
        place = self.root / "jobs" / job / "attempts" / str(number)
        put(place / "lease.json", {"gpus": [{"uuid": "GPU-1", "index": 0, "share": share}]})
        put(place / "start.json", {"sid": 4194305, "start_ticks": 1, "marker": f"mark-{job}-{number}"})
        put(place / "end.json", {"reason": "exit_zero", "started": True, **end})
        (place / "lock").touch()
        (place / "log").write_text("".join(f"line {n} of job\n" for n in range(1, PRINTED + 1)))
        return place

    def look(self) -> list[str]:
        return at_rest({"h1": self.root}, [JOB], self.witness)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_spool_in_order_is_silent(desk: Desk) -> None:
    assert desk.look() == []
    assert in_motion([desk.root]) == []


def lose(desk: Desk) -> None:
    (desk.root / "submits" / "s-1.json").unlink()


def cut_short(desk: Desk) -> None:
    (desk.try_1 / "end.json").write_text('{"reason": "exit_z')


def no_end(desk: Desk) -> None:
    (desk.try_1 / "end.json").unlink()


def skip_a_number(desk: Desk) -> None:
    desk.attempt(3)


def no_start(desk: Desk) -> None:
    (desk.try_1 / "start.json").unlink()


def log_cut(desk: Desk) -> None:
    (desk.try_1 / "log").write_text("line 1 of job\n")


def log_doubled(desk: Desk) -> None:
    with (desk.try_1 / "log").open("a") as log:
        log.write("line 1 of job\n")


def no_effect(desk: Desk) -> None:
    desk.witness.effects.write_text("")


def two_effects(desk: Desk) -> None:
    with desk.witness.effects.open("a") as effects:
        effects.write(f"h1 {JOB} 1 78 begin\n")


def effect_of_nobody(desk: Desk) -> None:
    with desk.witness.effects.open("a") as effects:
        effects.write(f"h1 {JOB} 2 78 begin\n")


def effect_of_the_refused(desk: Desk) -> None:
    put(desk.try_1 / "end.json", {"reason": "cancelled_by_user", "started": False})


def no_last_word(desk: Desk) -> None:
    desk.witness.effects.write_text(f"h1 {JOB} 1 77 begin\n")


def conflict(desk: Desk) -> None:
    desk.witness.conflicts.write_text("GPU 0 of h1 is in use\n")


def damaged_pack(desk: Desk) -> None:
    put(desk.root / "packs" / "aa.json", [{"h": hashlib.sha256(b"x").hexdigest(), "o": 0, "s": 1, "z": False}])
    (desk.root / "packs" / "aa.pack").write_bytes(b"y")


def asked_again(desk: Desk) -> None:
    put(desk.root / "jobs" / JOB / "retry-x.json", {"at": 1.0, "after": 1})


DOCTORED: dict[Callable[[Desk], None], str] = {
    lose: "acknowledged and lost",
    cut_short: "half-written",
    no_end: "not over",
    asked_again: "not over",
    skip_a_number: "attempts [1, 3]",
    no_start: "succeeded without start",
    log_cut: "does not hold what it printed",
    log_doubled: "does not hold what it printed",
    no_effect: "left 0 traces",
    two_effects: "ran 2 times",
    effect_of_nobody: "never started",
    effect_of_the_refused: "although its end says",
    no_last_word: "did not come to its end",
    conflict: "GPU 0 of h1 is in use",
    damaged_pack: "pack damaged",
}


@pytest.mark.parametrize("doctor", DOCTORED, ids=lambda doctor: doctor.__name__)
def test_a_doctored_spool_is_found_out(desk: Desk, doctor: Callable[[Desk], None]) -> None:
    doctor(desk)
    assert any(DOCTORED[doctor] in each for each in desk.look()), desk.look()


def test_a_job_on_two_hosts_is_found_out(desk: Desk, tmp_path: Path) -> None:
    other = Desk(tmp_path / "other")
    assert f"on two hosts: {JOB}" in at_rest({"h1": desk.root, "h2": other.root}, [JOB], desk.witness)
    other.attempt(1, reason="moved", started=False)
    assert f"on two hosts: {JOB}" not in at_rest({"h1": desk.root, "h2": other.root}, [JOB], desk.witness)


@pytest.fixture
def held(desk: Desk) -> Iterator[Callable[[Path], None]]:
    opened: list[int] = []

    def hold(path: Path) -> None:
        opened.append(os.open(path, os.O_RDWR))
        fcntl.flock(opened[-1], fcntl.LOCK_EX)

    yield hold
    for each in opened:
        os.close(each)


def test_locks_that_outlive_their_work_are_found_out(desk: Desk, held: Callable[[Path], None]) -> None:
    held(desk.root / "keeper" / "lock")
    held(desk.try_1 / "lock")
    told = " ".join(desk.look())
    assert "a keeper still lives" in told
    assert "its lock is held" in told


def test_two_live_attempts_and_a_gpu_leased_twice_are_found_out(desk: Desk, held: Callable[[Path], None]) -> None:
    second = desk.attempt(2)
    held(second / "lock")
    for place in (desk.try_1, second):
        (place / "end.json").unlink()
    found = in_motion([desk.root])
    assert any("two live attempts" in each for each in found)
    assert "leased twice: GPU-1" in found
    for place in (desk.try_1, second):
        put(place / "lease.json", {"gpus": [{"uuid": "GPU-1", "index": 0, "share": 50}]})
    assert "leased twice: GPU-1" not in in_motion([desk.root])


LEFT = "import sys, time; print('up', flush=True); time.sleep(60)"


def left_by(desk: Desk, trace: str, log: IO[bytes]) -> dict[str, Any]:
    """How a process betrays that it belongs to the attempt: one trace at a time."""
    ways: dict[str, dict[str, Any]] = {
        "marker": {"env": {"ORCH_ATTEMPT_MARKER": f"mark-{JOB}-1"}},
        "cwd": {"cwd": desk.try_1},
        "descriptor": {"stderr": log},
        "session": {"start_new_session": True},
        "told": {"args": [sys.executable, "-c", LEFT, str(desk.root)]},
    }
    return ways[trace]


@pytest.mark.parametrize("trace", ["marker", "cwd", "descriptor", "session", "told"])
def test_a_process_that_is_left_is_found_out(desk: Desk, trace: str) -> None:
    with (desk.try_1 / "log").open("ab") as log:
        how = left_by(desk, trace, log)
        args = how.pop("args", [sys.executable, "-c", LEFT])
        process = subprocess.Popen(args, stdout=subprocess.PIPE, **{"env": {}, "cwd": "/", **how})
    with process:
        try:
            assert process.stdout is not None
            wait_until(process.stdout.readline, 20, "it is up")
            if trace == "session":
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                put(desk.try_1 / "start.json", {"sid": process.pid, "start_ticks": int(fields[19]), "marker": "m"})
            assert any(f"process {process.pid} is left" in each for each in desk.look())
        finally:
            process.kill()
    assert desk.look() == []


def test_bytes_that_differ_on_the_laptop_are_found_out(desk: Desk, tmp_path: Path) -> None:
    spool = read_spool(desk.root, "h1")
    log = (desk.try_1 / "log").read_bytes()
    assert wrong_logs(spool, {("h1", JOB, 1): log}) == []
    assert wrong_logs(spool, {("h1", JOB, 1): log[:-1]})
    outputs, home = desk.root / "jobs" / JOB / "outputs", tmp_path / "home"
    for folder in (outputs, home):
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(b"1")
    (home / "log").write_bytes(log)
    assert wrong_results(spool.jobs[JOB], home) == []
    (home / "a").write_bytes(b"2")
    assert wrong_results(spool.jobs[JOB], home) == [f"pulled file differs: {JOB} a"]
    (home / "log").write_bytes(log[1:])
    assert f"pulled log differs: {JOB}" in wrong_results(spool.jobs[JOB], home)
