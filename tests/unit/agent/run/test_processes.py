"""Members of an attempt are found by each trace, and nobody else is touched. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remote_payload.agent.run.clear import Clearing
from remote_payload.agent.run.processes import (
    MARKER_NAME,
    Process,
    Traces,
    descendants,
    in_sessions,
    is_same,
    members,
    parse_stat,
    read_process,
    send,
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `sleep 300` (or another argv) in its own session; ends it afterwards by pid."""
    running: list[subprocess.Popen[bytes]] = []

    def run(*argv: str, env: dict[str, str], **more: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv or ("sleep", "300"), env=env, start_new_session=True, **more)  # type: ignore[call-overload]
        running.append(process)
        return process  # type: ignore[no-any-return]

    yield run
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stdin):
            if pipe is not None:
                pipe.close()


def started_of(pid: int) -> int:
    process = read_process(pid)
    assert process is not None
    return process.start


def test_stat_lines_with_hostile_names() -> None:
    line = "42 (a) (b) S 1) S 7 42 41 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 98765 1 2 3"
    assert parse_stat(line) == Process(42, "S", 7, 41, 98765)
    assert parse_stat("") is None
    assert parse_stat("42 (sh) S") is None


def test_descendants_and_sessions_are_pure() -> None:
    table = {
        each.pid: each
        for each in (
            Process(10, "S", 1, 10, 100),
            Process(11, "S", 10, 10, 101),
            Process(12, "S", 11, 12, 102),
            Process(13, "S", 1, 13, 50),
        )
    }
    assert descendants(table, [10]) == {11, 12}
    assert in_sessions(table, {10: 100}) == {10, 11}
    assert in_sessions(table, {10: 90}) == set(), "the number 10 now belongs to a younger session"
    assert in_sessions(table, {13: 60}) == set(), "a process older than the session is no member of it"


def test_found_by_marker(start: Start) -> None:
    process = start(env={"PATH": os.defpath, MARKER_NAME: "abc"})
    other = start(env={"PATH": os.defpath, MARKER_NAME: "abcd"})
    assert set(members(Traces(marker="abc"), frozenset())) == {process.pid}
    assert members(Traces(marker="abc"), {process.pid}) == {}
    assert other.poll() is None


def test_found_by_the_log_only_when_it_can_write_to_it(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as writing:
        writer = start(env={}, stdout=writing, executable="/bin/sleep")
    with log.open("rb") as reading:
        start(env={}, stdin=reading, executable="/bin/sleep")
    status = log.stat()
    assert set(members(Traces(log=(status.st_dev, status.st_ino)), frozenset())) == {writer.pid}


def test_found_by_session(start: Start) -> None:
    process = start("sh", "-c", "sleep 300 & wait", env={"PATH": os.defpath})
    traces = Traces(sessions={process.pid: started_of(process.pid)})
    deadline = time.monotonic() + 5
    while len(members(traces, frozenset())) < 2:
        assert time.monotonic() < deadline
    assert process.pid in members(traces, frozenset())
    for each in members(traces, {process.pid}).values():
        assert send(each, signal.SIGKILL)


def test_a_process_with_another_start_time_is_never_signalled(start: Start) -> None:
    process = start(env={"PATH": os.defpath})
    now = read_process(process.pid)
    assert now is not None
    assert not send(now._replace(start=now.start - 1), signal.SIGKILL)
    assert process.poll() is None
    assert send(now, signal.SIGKILL)
    process.wait()
    assert not is_same(now)
    assert not send(now, signal.SIGKILL)


IGNORES_TERM = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
)


def clear(clearing: Clearing) -> None:
    deadline = time.monotonic() + 20
    while not clearing.step(time.monotonic()):
        assert time.monotonic() < deadline


def test_clearing_asks_then_kills(start: Start) -> None:
    env = {"PATH": os.defpath, MARKER_NAME: "clear-1"}
    stubborn = start(sys.executable, "-c", IGNORES_TERM, env=env, stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == b"up\n"
    gentle = start(env=env)
    clearing = Clearing(lambda: Traces(marker="clear-1"), 0.3)
    clear(clearing)
    assert gentle.wait() == -signal.SIGTERM
    assert stubborn.wait() == -signal.SIGKILL
    assert (clearing.asked, clearing.killed) == (2, 1)


def test_clearing_wakes_a_stopped_process(start: Start) -> None:
    process = start(env={"PATH": os.defpath, MARKER_NAME: "clear-2"})
    process.send_signal(signal.SIGSTOP)
    clear(Clearing(lambda: Traces(marker="clear-2"), 15.0))
    assert process.wait() == -signal.SIGTERM
