"""What the fault suite found, each by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.host import FaultyHost
from tests.faults.spoolfiles import load
from tests.harness.submitting import Sent, wait_final
from tests.harness.waiting import wait_until
from tests.integration.keeper_host import pid_lives, read_pid


@pytest.fixture
def host(tmp_path: Path, agents: Path) -> Iterator[FaultyHost]:
    made = FaultyHost(tmp_path / "h1", agents)
    yield made
    made.close()


def python() -> dict[str, str]:
    return {"kind": "path", "path": shutil.which("python3") or ""}


def test_a_withdrawal_that_was_interrupted_may_be_repeated(host: FaultyHost, code: Path) -> None:
    sent = Sent(code, "true", python=python())
    with host.link() as link:
        link.pause(True, "me")
        sent.send(link)
        # What a kill leaves between the claim of the attempt and the end that withdraws it.
        attempt = host.root / "jobs" / sent.job / "attempts" / "1"
        attempt.mkdir(parents=True)
        (attempt / "lock").touch()
        assert link.withdraw([sent.job], "s-other", "h2") == {"withdrawn": [sent.job], "refused": {}}
        link.pause(False, "me")
        view = wait_final(link, sent.job)
    assert (view["state"], view["reason"], view["attempt"]) == ("CANCELLED", "moved", 1)


def test_a_job_that_was_moved_away_is_not_tried_again_here(host: FaultyHost, code: Path) -> None:
    sent = Sent(code, "true", python=python())
    with host.link() as link:
        link.pause(True, "me")
        sent.send(link)
        link.withdraw([sent.job], "s-other", "h2")
        link.pause(False, "me")
        assert link.retry([sent.job]) == {sent.job: "CANCELLED"}
        assert wait_final(link, sent.job)["attempt"] == 1


BARE = "env -i setsid sh -c 'echo $$ > {}; exec sleep 300' < /dev/null > /dev/null 2>&1 & sleep 300"
CLOSED = """
import os, subprocess, sys
words = ["sh", "-c", "echo $$ > {}; exec sleep 300"]
quiet = subprocess.DEVNULL
subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, env={{}}, cwd="/")
os.execvp("sleep", ["sleep", "300"])
"""


@pytest.mark.parametrize("how", ["bare", "closed"])
def test_supervisor_and_keeper_killed_at_once_leave_nothing(
    host: FaultyHost, code: Path, tmp_path: Path, how: str
) -> None:
    (code / "hide.py").write_text(CLOSED.format(tmp_path / "pid"))
    text = BARE.format(tmp_path / "pid") if how == "bare" else "exec python hide.py"
    sent = Sent(code, text, python=python())
    with host.link() as link:
        sent.send(link)
        hidden = read_pid(tmp_path / "pid")
        attempt = host.root / "jobs" / sent.job / "attempts" / "1"
        # Its own session is written down a moment after it was opened.
        wait_until(lambda: str(hidden) in (load(attempt / "sessions.json", []) or {}), 20, "its session is known")
        if how == "bare":
            (attempt / "sessions.json").unlink()  # without it, the descriptor of the log is left to tell
        pids = host.pids("keeper") + host.pids("supervise")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(pid_lives, pids)), 20, "both are gone")
        link.cancel([sent.job], "me")
        wait_until(lambda: (attempt / "end.json").exists(), 20, "its end")
        assert not pid_lives(hidden)


def test_a_keeper_that_is_killed_while_it_comes_up_is_started_again(tmp_path: Path, agents: Path, code: Path) -> None:
    host = FaultyHost(tmp_path / "h1", agents, points="keeper.locked:1;keeper.recorded:1")
    sent = Sent(code, "true", python=python())
    try:
        with host.link() as link:
            assert sent.send(link)["keeper"]["alive"]
            assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
        assert host.passed() == {"keeper.locked", "keeper.recorded"}
    finally:
        host.close()


@pytest.mark.parametrize("way", ["watch", "follow"])
def test_who_watches_gets_a_new_keeper_when_the_old_one_is_killed(host: FaultyHost, code: Path, way: str) -> None:
    sent = Sent(code, "echo ran", python=python())
    with host.link() as link:
        link.pause(True, "me")
        sent.send(link)
        host.kill("keeper")
        wait_until(lambda: not host.pids("keeper"), 20, "it is gone")
        # Not by `pause`, which would start a keeper by itself.
        (host.root / "keeper" / "paused.json").unlink()
        if way == "watch":
            assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
        else:
            assert b"".join(piece.data for piece in link.follow(sent.job)) == b"ran\n"


def test_a_setup_that_fails_after_the_clock_was_set_back_is_not_run_for_ever(
    host: FaultyHost, code: Path, tmp_path: Path
) -> None:
    setup = {"run": f"echo x >> {tmp_path}/runs; exit 3", "files": []}
    sent = Sent(code, "true", python=python(), setup=setup)
    host.set_clock(-3600.0)
    with host.link() as link:
        sent.send(link)
        assert wait_final(link, sent.job)["reason"] == "setup_failed"
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_gpu_is_not_given_to_another_spool_while_an_orphan_uses_it(
    host: FaultyHost, agents: Path, code: Path, tmp_path: Path
) -> None:
    mark = f"exec 9>> {tmp_path}/gpu; flock -n 9 || touch {tmp_path}/clash"
    # It takes its time to end, and starts no process that would be asked to end as well.
    slow = f"mkfifo {tmp_path}/f; exec 7<> {tmp_path}/f; trap 'read -r -t 3 <&7 || exit 1' TERM"
    text = f"{mark}; {slow}; touch {tmp_path}/up; while :; do sleep 0.05 || :; done"
    first = Sent(code, text, python=python(), gpus=2)
    second = Sent(code, mark, python=python(), gpus=1)
    other = FaultyHost(tmp_path / "h2", agents, cards_of=host)
    try:
        with host.link() as here, other.link() as there:
            first.send(here)
            wait_until((tmp_path / "up").exists, 20, "it runs")
            second.send(there)
            wait_until(lambda: there.jobs()[0]["waiting_for"] == "no_gpu", 20, "the other waits")
            host.kill("supervise")
            assert wait_final(there, second.job)["state"] == "SUCCEEDED"
            assert wait_final(here, first.job)["reason"] == "supervisor_died"
    finally:
        other.close()
    assert not (tmp_path / "clash").exists()


def test_after_a_reboot_that_left_a_process_it_is_ended_as_well(host: FaultyHost, code: Path) -> None:
    sent = Sent(code, "sleep 300", python=python())
    with host.link() as link:
        sent.send(link)
        attempt = host.root / "jobs" / sent.job / "attempts" / "1"
        start = wait_until(lambda: load(attempt / "start.json", []), 20, "it runs")
        host.kill("keeper")
        host.kill("supervise")
        wait_until(lambda: not host.pids("keeper") + host.pids("supervise"), 20, "both are gone")
        (attempt / "start.json").write_text(json.dumps({**start, "boot": {"id": "before", "pid1_start": "1"}}))
        assert wait_final(link, sent.job)["reason"] == "host_rebooted"
    assert not pid_lives(start["pid"])
