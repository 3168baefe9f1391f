"""The sessions an attempt's processes have opened, written down while its supervisor sees them.

A process that left its session, dropped its environment and closed every descriptor is known only as a descendant. When
supervisor and keeper are killed at once nobody has it as a descendant any more; then this file still names its session.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any, Dict, Optional

from remote_payload.agent.run.processes import descendants, living

LOOK_SECONDS = 0.5
REST_PER_LOOK = 300.0
"""A look that takes t seconds of work is followed by at least 300 t of rest: a third of a percent of a core."""


class Sessions:
    """Follows the sessions below this process.

    Args:
        path: where they are written: {session: start of its leader in clock ticks}.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: Dict[int, int] = {}
        self._next = 0.0

    def look(self, now: float) -> None:
        """Look, if it is time to, and write down what is new. now: monotonic seconds."""
        if now < self._next:
            return
        began = time.process_time()
        processes = living()
        mine = descendants(processes, [os.getpid()])
        found: Dict[int, int] = {}
        for pid in mine:
            session = processes[pid].session
            leader = processes.get(session)
            # A leader that is gone leaves its number to the session: whoever is in it says since when it is there.
            since = min(found.get(session, processes[pid].start), processes[pid].start)
            found[session] = leader.start if leader is not None else self._known.get(session, since)
        if found.keys() - self._known.keys():
            # A full disk loses this trace, and nothing else.
            with contextlib.suppress(OSError):
                self._write(found)
        self._known = found
        self._next = now + max(LOOK_SECONDS, REST_PER_LOOK * (time.process_time() - began))

    def _write(self, found: Dict[int, int]) -> None:
        # Not brought to the disk: after a reboot no session is left that it could name.
        beside = self._path + ".tmp"
        with open(beside, "w", encoding="ascii") as stream:
            json.dump({str(session): start for session, start in sorted(found.items())}, stream)
        os.rename(beside, self._path)


def read_sessions(path: str) -> Dict[int, int]:
    """Return what a supervisor wrote down, {} when nothing usable is there."""
    said: Optional[Any] = None
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as stream:
        said = json.load(stream)
    if not isinstance(said, dict):
        return {}
    return {int(key): value for key, value in said.items() if key.isdigit() and isinstance(value, int)}
