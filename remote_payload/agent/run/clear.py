"""Ending the processes of an attempt: TERM, a grace counted until the last is gone, KILL, until nothing is left."""

from __future__ import annotations

import os
import signal
from typing import AbstractSet, Callable, Dict, Optional, Set, Tuple

from remote_payload.agent.run.processes import UNKILLABLE_STATES, Process, Traces, members, send_all

CONFIRMATIONS = 2
"""Scans in a row that must find nobody: between two of them a process could have forked and gone."""


class Clearing:
    """One attempt's last phase, advanced by `step` so that the caller's loop goes on meanwhile.

    Args:
        traces: called before each scan; what the attempt's processes are known by.
        grace: seconds from the first TERM to KILL.
        spare: pids never touched, beside this process.
    """

    def __init__(self, traces: Callable[[], Traces], grace: float, spare: AbstractSet[int] = frozenset()) -> None:
        self._traces = traces
        self._grace = grace
        self._spare = frozenset(spare) | {os.getpid()}
        self._termed: Dict[int, int] = {}
        self._deadline: Optional[float] = None
        self._empty = 0
        self._killed: Set[Tuple[int, int]] = set()
        self.unkillable = 0

    @property
    def asked(self) -> int:
        """How many processes were sent TERM."""
        return len(self._termed)

    @property
    def killed(self) -> int:
        """How many processes were sent KILL."""
        return len(self._killed)

    def step(self, now: float) -> bool:
        """Scan once and signal whom it finds.

        Args:
            now: monotonic seconds.

        Returns:
            True when two scans in a row found nobody.
        """
        found = members(self._traces(), self._spare)
        if not found:
            self._empty += 1
            self.unkillable = 0
            return self._empty >= CONFIRMATIONS
        self._empty = 0
        if self._deadline is None:
            self._deadline = now + self._grace
        if now >= self._deadline:
            self._killed.update((each.pid, each.start) for each in found.values())
            self.unkillable = sum(1 for each in found.values() if each.state in UNKILLABLE_STATES)
            send_all(found.values(), signal.SIGKILL)
        else:
            self._ask(found)
        return False

    def hurry(self) -> None:
        """Let the next step kill at once."""
        self._deadline = float("-inf")

    def _ask(self, found: Dict[int, Process]) -> None:
        """Send TERM to each process once: a second one would interrupt the checkpoint the first has begun."""
        new = [each for each in found.values() if self._termed.get(each.pid) != each.start]
        self._termed.update((each.pid, each.start) for each in new)
        send_all(new, signal.SIGTERM)
