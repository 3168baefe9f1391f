"""Which processes belong to an attempt, and how to end them without ever hitting a stranger.

No single trace finds them all: `env -i` drops the marker, a daemon leaves the session and its parent, redirection
closes the log. So four traces are followed, each over /proc, and a scan is repeated until it is empty twice.
"""

from __future__ import annotations

import os
import signal
from typing import AbstractSet, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

from remote_payload.agent.machine import compat

MARKER_NAME = "ORCH_ATTEMPT_MARKER"
DEAD_STATES = frozenset("ZXx")
UNKILLABLE_STATES = frozenset("D")
_FIRST_FIELD_AFTER_NAME = 3


class Process(NamedTuple):
    """One line of /proc/PID/stat. start is in clock ticks since boot; with it a pid names one process for ever."""

    pid: int
    state: str
    parent: int
    session: int
    start: int


class Traces(NamedTuple):
    """What an attempt's processes are known by.

    parents: processes whose descendants all belong to it (the supervisor, when it scans itself).
    sessions: session ids, each with the start of its leader.
    marker: the random value of ORCH_ATTEMPT_MARKER, or "".
    log: (device, inode) of the attempt's log; who can write to it belongs to the attempt.
    heirs: processes that belong to it themselves, with their descendants (the keeper inherits them from a supervisor
    that was killed).
    """

    parents: AbstractSet[int] = frozenset()
    sessions: Mapping[int, int] = {}
    marker: str = ""
    log: Optional[Tuple[int, int]] = None
    heirs: AbstractSet[int] = frozenset()


def parse_stat(text: str) -> Optional[Process]:
    """Read one /proc/PID/stat line. Pure. Its name may hold blanks and parentheses: fields count after the last ")"."""
    head, closed, tail = text.rpartition(")")
    fields = tail.split()
    if not closed or len(fields) < 20:
        return None
    try:
        pid = int(head.split("(", 1)[0])
        at = -_FIRST_FIELD_AFTER_NAME
        return Process(pid, fields[0], int(fields[at + 4]), int(fields[at + 6]), int(fields[at + 22]))
    except ValueError:
        return None


def read_process(pid: int) -> Optional[Process]:
    """Return a process as it is now, or None when it is gone."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as stream:
            return parse_stat(stream.read(4096).decode("utf-8", "replace"))
    except OSError:
        return None


def is_same(process: Process) -> bool:
    """Tell whether a process still lives (a zombie does not) and is not another one with its number."""
    now = read_process(process.pid)
    return now is not None and now.start == process.start and now.state not in DEAD_STATES


def living() -> Dict[int, Process]:
    """Return every process that is not a zombie, by pid."""
    found: Dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = read_process(int(name))
            if process is not None and process.state not in DEAD_STATES:
                found[process.pid] = process
    return found


def descendants(processes: Mapping[int, Process], parents: Iterable[int]) -> Set[int]:
    """Return the pids below some processes, without those themselves. Pure."""
    children: Dict[int, List[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: Set[int] = set()
    queue = list(parents)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def in_sessions(processes: Mapping[int, Process], sessions: Mapping[int, int]) -> Set[int]:
    """Return the pids in some sessions, leaving out a session whose number was given to somebody new. Pure."""
    found: Set[int] = set()
    for process in processes.values():
        started = sessions.get(process.session)
        if started is None or process.start < started:
            continue
        leader = processes.get(process.session)
        if leader is None or leader.start == started:
            found.add(process.pid)
    return found


def members(traces: Traces, spare: AbstractSet[int]) -> Dict[int, Process]:
    """Find the living processes of an attempt.

    Args:
        traces: what they are known by.
        spare: pids that are never members (the agent's own processes).
    """
    processes = living()
    found = descendants(processes, traces.parents | traces.heirs) | in_sessions(processes, traces.sessions)
    found |= traces.heirs & set(processes)
    marker = "{}={}".format(MARKER_NAME, traces.marker).encode("ascii") if traces.marker else b""
    for pid in processes:
        if pid in found or pid in spare:
            continue
        if (marker and _bears(pid, marker)) or (traces.log is not None and _writes(pid, traces.log)):
            found.add(pid)
    return {pid: processes[pid] for pid in found if pid not in spare and pid in processes}


def send(process: Process, signum: int) -> bool:
    """Send a signal to exactly this process.

    Returns:
        False when it is gone or may not be signalled.
    """
    try:
        descriptor = compat.open_process(process.pid)
        try:
            # After the descriptor is open the number cannot change its meaning; before, it may have.
            if not is_same(process):
                return False
            if descriptor is None:
                os.kill(process.pid, signum)
            else:
                compat.signal_process(descriptor, signum)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send_all(processes: Iterable[Process], signum: int) -> None:
    """Send a signal to each; after TERM a CONT, because a stopped process does not take it."""
    for process in processes:
        if send(process, signum) and signum == signal.SIGTERM:
            send(process, signal.SIGCONT)


def reap() -> Dict[int, int]:
    """Collect every child that has ended, adopted ones too.

    Returns:
        pid -> wait status.
    """
    ended: Dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def _bears(pid: int, marker: bytes) -> bool:
    try:
        with open("/proc/{}/environ".format(pid), "rb") as stream:
            return marker in stream.read().split(b"\0")
    except OSError:
        return False


def _writes(pid: int, log: Tuple[int, int]) -> bool:
    folder = "/proc/{}/fd".format(pid)
    try:
        numbers = os.listdir(folder)
    except OSError:
        return False
    for number in numbers:
        try:
            link = os.readlink(os.path.join(folder, number))
            # The name is looked at first: a stat may hang on a dead network folder.
            if "/log" not in link:
                continue
            status = os.stat(os.path.join(folder, number))
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == log and _may_write(pid, number):
            return True
    return False


def _may_write(pid: int, number: str) -> bool:
    """Tell whether a descriptor is open for writing: whoever only reads the log (`orch logs`, tail) is a stranger."""
    try:
        with open("/proc/{}/fdinfo/{}".format(pid, number), "rb") as stream:
            for line in stream:
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    except (OSError, ValueError, IndexError):
        return False
    return False
