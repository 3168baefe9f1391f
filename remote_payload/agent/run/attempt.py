"""One attempt from the moment its leader waits at the gate until no process of it is left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from remote_payload.agent.run.clear import Clearing
from remote_payload.agent.run.processes import Traces, reap

POLL_SECONDS = 0.2
_WHY = {"cancel": "cancelled on request", "log": "its log is too large", "gone": "its spool was removed"}
CLEARING_SECONDS = 0.02
CLEARING_SLOW_SECONDS = 0.25
LEFTOVER_GRACE = 10.0
"""Seconds from TERM to KILL for what the leader left behind when it ended by itself."""


class Limits(NamedTuple):
    """timeout: seconds from the start; grace: from TERM to KILL; no_output: seconds of silence. None = no limit."""

    timeout: Optional[float]
    grace: float
    no_output: Optional[float] = None


class Wake:
    """Lets a loop sleep until a child ends: SIGCHLD through a pipe, the same on every Python."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for descriptor in (self._read, self._write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)

    def wait(self, seconds: float, also: Optional[List[int]] = None) -> None:
        """Sleep until a child ends, one of the other descriptors can be read, or the time is over."""
        ready, _, _ = select.select([self._read, *(also or [])], [], [], max(0.0, seconds))
        if self._read in ready:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._read, 4096):
                    pass


class Log:
    """The attempt's log as the agent writes to it: whole lines that begin with [orch], between the job's own."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def say(self, text: str) -> None:
        """Append one line. A full disk loses the line and nothing else."""
        line = "[orch] {}\n".format(text).encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            size = os.fstat(self.descriptor).st_size
            if size and os.pread(self.descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(self.descriptor, line)

    def tail(self, size: int) -> bytes:
        """Return the last bytes."""
        with contextlib.suppress(OSError):
            end = os.fstat(self.descriptor).st_size
            return os.pread(self.descriptor, size, max(0, end - size))
        return b""

    def size(self) -> int:
        """Return its length in bytes, 0 when it cannot be told."""
        with contextlib.suppress(OSError):
            return os.fstat(self.descriptor).st_size
        return 0

    def sync(self) -> None:
        """Bring it to the disk."""
        with contextlib.suppress(OSError):
            os.fsync(self.descriptor)


class Finished(NamedTuple):
    """How the leader ended (its wait status), and why it was stopped (see ending.Outcome)."""

    status: int
    stopped: Optional[str]


class Attempt:
    """Waits for one leader and everything it started.

    Args:
        leader: its pid.
        traces: what its processes are known by.
        limits: timeout and grace.
        log: where words for people go.
        asked_to_stop: called at every tick; returns "cancel", "log" or "gone" to end the attempt, else None.
    """

    def __init__(
        self, leader: int, traces: Traces, limits: Limits, log: Log, asked_to_stop: Callable[[], Optional[str]]
    ) -> None:
        self._leader = leader
        self._traces = traces
        self._limits = limits
        self._log = log
        self._asked_to_stop = asked_to_stop
        self._status: Optional[int] = None
        self._stopped: Optional[str] = None
        self._clearing: Optional[Clearing] = None
        self._told = False
        self._size = 0
        self._heard = 0.0

    def wait(self, wake: Wake) -> Finished:
        """Return when the leader has ended and no process of the attempt remains, however long that takes."""
        deadline = None if self._limits.timeout is None else time.monotonic() + self._limits.timeout
        self._heard = time.monotonic()
        while True:
            self._collect()
            now = time.monotonic()
            if self._stopped is None:
                self._look_for_stop(now, deadline)
            if self._clearing is None and self._status is not None:
                self._clearing = Clearing(lambda: self._traces, LEFTOVER_GRACE)
            if self._clearing is None:
                left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - now)
                wake.wait(left)
                continue
            if self._clearing.step(now) and self._status is not None:
                self._tell_end()
                return Finished(self._status, self._stopped)
            self._tell()
            wake.wait(CLEARING_SLOW_SECONDS if self._clearing.asked else CLEARING_SECONDS)

    def _collect(self) -> None:
        status = reap().get(self._leader)
        if status is not None:
            self._status = status

    def _look_for_stop(self, now: float, deadline: Optional[float]) -> None:
        if self._status is not None:
            return
        asked = self._asked_to_stop()
        if asked is None and deadline is not None and now >= deadline:
            asked = "timeout"
        if asked is None and self._limits.no_output is not None and self._silence(now) >= self._limits.no_output:
            asked = "no_output"
        if asked is not None:
            self._stopped = asked
            self._clearing = Clearing(lambda: self._traces, self._limits.grace)
            self._log.say(_stop_words(asked, self._limits))

    def _silence(self, now: float) -> float:
        size = self._log.size()
        if size != self._size:
            self._size, self._heard = size, now
        return now - self._heard

    def _tell(self) -> None:
        if self._stopped is None and not self._told and self._clearing is not None and self._clearing.asked:
            self._told = True
            self._log.say(
                "the command ended but left {} process{} behind: asked to end, killed after {:g} s".format(
                    self._clearing.asked, "" if self._clearing.asked == 1 else "es", LEFTOVER_GRACE
                )
            )

    def _tell_end(self) -> None:
        if self._clearing is not None and self._clearing.killed:
            count = self._clearing.killed
            self._log.say("killed {} process{} that did not end".format(count, "" if count == 1 else "es"))


def status_of(status: int) -> Dict[str, Optional[int]]:
    """Return {exit_code, signal} of a wait status; one of them is None. Pure."""
    if os.WIFSIGNALED(status):
        return {"exit_code": None, "signal": os.WTERMSIG(status)}
    return {"exit_code": os.WEXITSTATUS(status), "signal": None}


def _stop_words(asked: str, limits: Limits) -> str:
    if asked == "timeout":
        why = "it has run for its timeout of {:g} s".format(limits.timeout or 0)
    elif asked == "no_output":
        why = "it has printed nothing for {:g} s".format(limits.no_output or 0)
    else:
        why = _WHY.get(asked, asked)
    return "{}: asked to end, killed after {:g} s".format(why, limits.grace)


def _nothing(signum: int, frame: Any) -> None:
    """A handler that only wakes: unlike SIG_IGN it is back to the default in a program that is started."""
