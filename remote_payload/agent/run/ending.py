"""Why an attempt ended: from its leader's status, what was asked of it, and the last lines of its log. Pure."""

from __future__ import annotations

import re
import signal
from typing import NamedTuple, Optional, Pattern, Tuple

from remote_payload.agent.machine.text import one_line
from remote_payload.agent.spool.states import SIGNAL_EXIT_BASE

TAIL_BYTES = 16384
"""How much of the log's end is looked at."""

ACTIVATION_FAILED = 121
"""launch.sh's exit code when it could not make `python` the job's Python; a line of its own in the log says so too."""

ACTIVATION_WORDS = b"[orch] environment: "
DETAIL_LIMIT = 400


class Outcome(NamedTuple):
    """What is known when the last process is gone. stopped: why we ended it, or None.

    oom_killed: whether the kernel killed a process of this host for want of RAM meanwhile; None = unknown.
    stopped is "cancel", "timeout", "no_output", "log" (it grew beyond its limit) or "gone" (the spool was removed).
    """

    exit_code: Optional[int]
    signal: Optional[int]
    stopped: Optional[str]
    tail: bytes
    oom_killed: Optional[bool] = None


class Ending(NamedTuple):
    """The end reason (a key of states.END_REASONS), the leader's status, and a few words."""

    reason: str
    exit_code: Optional[int]
    signal: Optional[int]
    detail: str


_PATTERNS: Tuple[Tuple[str, Pattern[bytes]], ...] = (
    (
        "out_of_memory",
        re.compile(
            rb"CUDA out of memory|HIP out of memory|OutOfMemoryError|CUDA (?:driver )?error: out of memory"
            rb"|cuda runtime error \(2\)|CUDA failed with error out of memory|CUBLAS_STATUS_ALLOC_FAILED"
            rb"|RESOURCE_EXHAUSTED: Out of memory|OOM when allocating tensor|Unable to find a valid cuDNN algorithm"
            rb"|DefaultCPUAllocator: can't allocate memory|_ArrayMemoryError|^MemoryError|Cannot allocate memory"
            rb"|killed by signal: Killed",
            re.MULTILINE,
        ),
    ),
    (
        "cuda_error",
        re.compile(
            rb"NVRM: Xid|CUDA error: (?!device-side assert|no kernel image)|cuDNN error: |CuDNN error: "
            rb"|Unable to determine the device handle|GPU is lost|NCCL error|ncclSystemError|ncclUnhandledCudaError"
            rb"|GET was unable to find an engine"
        ),
    ),
    ("disk_full", re.compile(rb"^.*(?:No space left on device|Disk quota exceeded).*$", re.MULTILINE)),
)
_SHARED_MEMORY = re.compile(rb"shared memory|/dev/shm|<?/torch_\d")


def conclude(outcome: Outcome) -> Ending:
    """Name the reason of an end.

    A leader that ended with 0 while it was being cancelled has succeeded: it used its grace to finish. One that was
    told to stop at its timeout or for its silence has not, whatever it says. 128+n of a shell is an exit code; only the
    leader's own death by a signal is a signal.
    """
    code, signum = outcome.exit_code, outcome.signal
    if code == 0 and outcome.stopped not in ("timeout", "no_output"):
        return Ending("exit_zero", 0, None, "")
    if outcome.stopped == "cancel":
        return Ending("cancelled_by_user", code, signum, "")
    if outcome.stopped == "log":
        return Ending("log_too_large", code, signum, "")
    if outcome.stopped in ("timeout", "no_output"):
        return Ending(outcome.stopped, code, signum, "")
    if code == ACTIVATION_FAILED and ACTIVATION_WORDS in outcome.tail:
        return Ending("environment_missing", code, None, _line_with(outcome.tail, ACTIVATION_WORDS))
    known = _recognise(outcome.tail)
    if known is not None:
        return Ending(known[0], code, signum, known[1])
    if code == SIGNAL_EXIT_BASE + signal.SIGKILL or signum == signal.SIGKILL:
        return _killed(code, signum, outcome.oom_killed)
    if signum is not None:
        return Ending("signal", None, signum, signal_name(signum))
    return Ending("exit_nonzero", code, None, _by_signal(code))


def _killed(code: Optional[int], signum: Optional[int], by_kernel: Optional[bool]) -> Ending:
    if by_kernel is None:
        return Ending("out_of_memory", code, signum, "killed with SIGKILL: likely the RAM limit")
    if by_kernel:
        return Ending("out_of_memory", code, signum, "killed by the kernel: the RAM limit was reached")
    reason = "signal" if signum is not None else "exit_nonzero"
    return Ending(reason, code, signum, "killed with SIGKILL, and not for want of memory")


def signal_name(signum: int) -> str:
    """Return "SIGSEGV" for 11; an unknown number is shown as it is."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return "signal {}".format(signum)


def last_line(tail: bytes) -> str:
    """Return the last line of a log that says something, neutralised, without orch's own."""
    for line in reversed(re.split(rb"[\r\n]+", tail)):
        if line.strip() and not line.startswith(b"[orch]"):
            return one_line(line, DETAIL_LIMIT)
    return ""


def _recognise(tail: bytes) -> Optional[Tuple[str, str]]:
    for reason, pattern in _PATTERNS:
        for found in pattern.finditer(tail):
            line = _line_at(tail, found.start())
            # A full /dev/shm says "No space left on device" too, and no disk is to blame.
            if reason == "disk_full" and _SHARED_MEMORY.search(line):
                continue
            return reason, one_line(line, DETAIL_LIMIT)
    return None


def _line_at(tail: bytes, position: int) -> bytes:
    start = tail.rfind(b"\n", 0, position) + 1
    stop = tail.find(b"\n", position)
    return tail[start : stop if stop >= 0 else len(tail)]


def _line_with(tail: bytes, words: bytes) -> str:
    line = _line_at(tail, tail.index(words))
    return one_line(line.split(words, 1)[1], DETAIL_LIMIT)


def _by_signal(code: Optional[int]) -> str:
    if code is not None and SIGNAL_EXIT_BASE < code < SIGNAL_EXIT_BASE + signal.NSIG:
        return "a command in it ended by " + signal_name(code - SIGNAL_EXIT_BASE)
    return ""
