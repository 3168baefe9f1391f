"""Attempts whose supervisor was killed: what is left of them is found and ended, then their end is written."""

from __future__ import annotations

import os
import time
from typing import AbstractSet, Any, Callable, Dict, NamedTuple, Optional, Tuple

from remote_payload.agent.crash import crash
from remote_payload.agent.run.claim import end_record, lock_attempt
from remote_payload.agent.run.clear import Clearing
from remote_payload.agent.run.endfile import EndFile
from remote_payload.agent.run.ending import Ending
from remote_payload.agent.run.processes import Traces
from remote_payload.agent.run.sessions import read_sessions
from remote_payload.agent.spool.paths import AttemptPaths, SpoolPaths

GRACE = 10.0

Key = Tuple[str, int]


class _Case(NamedTuple):
    lock: int
    clearing: Clearing


class Here(NamedTuple):
    """This host's id, and the identity of this boot of it (machine.identity)."""

    host_id: str
    boot: Dict[str, str]


class Orphans:
    """The orphaned attempts being ended now; each is advanced by `step` and holds up nobody.

    Args:
        paths: of the spool.
        here: this host and this boot of it.
        heirs: called before each scan; returns children of this process that it did not start: they were a dead
            supervisor's.
    """

    def __init__(self, paths: SpoolPaths, here: Here, heirs: Callable[[], AbstractSet[int]]) -> None:
        self._paths = paths
        self._here = here
        self._heirs = heirs
        self._cases: Dict[Key, _Case] = {}

    @property
    def any(self) -> bool:
        """Whether some are not ended yet."""
        return bool(self._cases)

    def holds(self, job: str, number: int) -> bool:
        """Whether this attempt is being ended; its lock is ours then, so it looks alive."""
        return (job, number) in self._cases

    def step(self, job: str, number: int, start: Dict[str, Any]) -> bool:
        """Go on ending one orphan.

        Args:
            job: its id.
            number: the attempt's.
            start: its start.json.

        Returns:
            True once its end is written.

        Raises:
            OSError: the end cannot be written now (full disk); call again.
        """
        key = (job, number)
        case = self._cases.get(key) or self._open(key, start)
        if case is None:
            return False
        if not case.clearing.step(time.monotonic()):
            return False
        place = self._paths.attempt(job, number)
        if self._is_replaced(start):
            ending = Ending("host_replaced", None, None, "it ran on another host, whose queue this one took over")
        elif self._is_earlier(start):
            ending = Ending("host_rebooted", None, None, "the host was restarted while it ran")
        else:
            count = case.clearing.asked
            words = "nothing of it was left" if not count else "{} processes of it were ended".format(count)
            ending = Ending("supervisor_died", None, None, words)
        crash("orphan.before_end")
        EndFile(place.end).write_now(end_record(ending, started=True))
        crash("orphan.ended")
        del self._cases[key]
        os.close(case.lock)
        return True

    def _is_replaced(self, start: Dict[str, Any]) -> bool:
        return start.get("host_id") not in (None, self._here.host_id)

    def _is_earlier(self, start: Dict[str, Any]) -> bool:
        return bool(start.get("boot") != self._here.boot)

    def _open(self, key: Key, start: Dict[str, Any]) -> Optional[_Case]:
        place = self._paths.attempt(*key)
        lock = lock_attempt(place.lock, tries=1)
        if lock is None:
            return None
        crash("orphan.locked")
        if os.path.exists(place.end):
            os.close(lock)
            return None
        case = _Case(lock, Clearing(lambda: self._traces(place, start), GRACE))
        self._cases[key] = case
        return case

    def _traces(self, place: AttemptPaths, start: Dict[str, Any]) -> Traces:
        try:
            status = os.stat(place.log)
            inode: Optional[Tuple[int, int]] = (status.st_dev, status.st_ino)
        except OSError:
            inode = None
        marker = str(start.get("marker") or "")
        if self._is_replaced(start) or self._is_earlier(start):
            # Numbers of processes mean somebody else by now. The marker and the log's inode never do.
            return Traces(marker=marker, log=inode)
        sessions = read_sessions(place.sessions)
        if start.get("sid"):
            sessions[int(start["sid"])] = int(start["start_ticks"])
        return Traces(heirs=frozenset(self._heirs()), sessions=sessions, marker=marker, log=inode)
