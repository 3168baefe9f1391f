"""For every test: a HOME of its own, no agent, no keyring; afterwards no thread and no child may be left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_payload.agent.run.processes import read_process
from tests.harness.strays import strays
from tests.harness.waiting import wait_until

SECONDS = 10.0
"""How long what a test began may take to end after it."""
HOST_SECONDS = 60.0
"""The same for processes of hosts, some of which tests kill without asking."""
LONG_LIVED = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "tests.harness.warm")
"""Helpers that are started once for the whole process."""


def isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Point everything that is somebody's own to an empty folder."""
    patch.setenv("HOME", str(home))
    patch.setenv("ORCH_HOME", str(home / "orch"))
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        patch.setenv(f"XDG_{name}_HOME", str(home / "xdg" / name.lower()))
    patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in os.environ:
        if name == "SSH_AUTH_SOCK" or name.startswith("ORCH_PASSWORD_"):
            patch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that outlive a test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a script: every program begun here would ignore Ctrl-C as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home"))
        yield
    # A host's processes are nobody's children: they are known by the folders they were started for.
    mine, above = tmp_path_factory.getbasetemp(), _ancestors()

    def left() -> list[str]:
        lines = [line for line in strays(mine) if not any(name in line for name in LONG_LIVED)]
        return [line for line in lines if int(line.split(":", 1)[0]) not in above]

    try:
        wait_until(lambda: not left(), HOST_SECONDS)
    except AssertionError:
        pytest.fail(f"left behind by the tests: {left()}", pytrace=False)


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _nothing_left(_home: None) -> Iterator[None]:
    threads, processes = set(threading.enumerate()), _children()
    yield

    def left() -> list[str]:
        running = [thread.name for thread in threading.enumerate() if thread not in threads]
        return running + [_told(pid) for pid in _children() - processes if _told(pid)]

    try:
        wait_until(lambda: not left(), SECONDS)
    except AssertionError:
        pytest.fail(f"left behind by the test: {left()}", pytrace=False)


def _ancestors() -> set[int]:
    """Return the pids above this process: whoever runs the tests may name their folder (Linux)."""
    found: set[int] = set()
    pid = os.getppid()
    while pid and pid not in found:
        found.add(pid)
        process = read_process(pid)
        pid = process.parent if process is not None else 0
    return found


def _children() -> set[int]:
    """Return the pids of this process's children, the ended ones that nobody waited for among them (Linux)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(map(int, task.read_text().split()))
        except OSError:  # the thread ended meanwhile
            continue
    return found


def _told(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
    return "" if any(name in command for name in LONG_LIVED) else f"{pid} {command or '(ended, not waited for)'}"
