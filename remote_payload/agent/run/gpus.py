"""The keeper's view of the GPUs: asked for only when a job waits for one, and not more often than helps."""

from __future__ import annotations

from typing import AbstractSet, Dict, FrozenSet, Optional, Set

from remote_payload.agent.machine.gpu import idle, read_gpus
from remote_payload.agent.run import gpulock
from remote_payload.agent.run.scheduler import NO_HARDWARE
from remote_payload.agent.wire.messages import GpuTable

FRESH_SECONDS = 1.0
STALE_SECONDS = 5.0
NONE_SECONDS = 60.0
DIRTY_SECONDS = 60.0
FREEING_SECONDS = 0.4
FREEING_FOR_SECONDS = 10.0
"""For so long after a GPU was given back its memory is looked at oftener: the next job is to start within a second."""
LIVELY_SECONDS = 60.0
"""For so long after something began or ended on this host, memory is looked at each second: it is being freed."""


class GpuWatch:
    """Caches nvidia-smi's table.

    Args:
        spool: from gpulock.spool_key.

    Attributes:
        path: PATH to find nvidia-smi in (the profile's); None = the agent's own.
    """

    def __init__(self, spool: str) -> None:
        self.path: Optional[str] = None
        self._spool = spool
        self._table: Optional[GpuTable] = None
        self._asked = float("-inf")
        self._stirred = float("-inf")
        self._held: FrozenSet[str] = frozenset()
        self._released: Dict[str, float] = {}

    def holds(self, held: AbstractSet[str], now: float) -> None:
        """Take in which GPUs are leased now, to know when each was given back. now: monotonic seconds."""
        for uuid in self._held - held:
            self._released[uuid] = now
        for uuid in held:
            self._released.pop(uuid, None)
        self._held = frozenset(held)

    def dirty(self, now: float) -> Dict[str, Optional[int]]:
        """Return {uuid: MiB used} of GPUs whose memory did not come back within a minute after their attempt ended.

        Such a GPU is left alone like every one that others use; the words say that nobody is to be seen on it.
        """
        found: Dict[str, Optional[int]] = {}
        for gpu in self._table["gpus"] if self._table is not None else []:
            at = self._released.get(gpu["uuid"])
            if at is None:
                continue
            if idle(gpu) is not False:
                del self._released[gpu["uuid"]]
            elif now - at >= DIRTY_SECONDS:
                found[gpu["uuid"]] = gpu["memory_used_mib"]
        return found

    def freeing(self, now: float) -> bool:
        """Whether a GPU was given back a moment ago and its memory was still used when last seen."""
        return any(now - at < FREEING_FOR_SECONDS for at in self._released.values())

    def stir(self, now: float) -> None:
        """Say that an attempt began or ended, so that the table is old. now: monotonic seconds."""
        self._stirred = now

    def table(self, leased: AbstractSet[str], now: float) -> GpuTable:
        """Return the table, asking again when it is too old to decide by. now: monotonic seconds."""
        if self._table is None or now - self._asked >= self._age_allowed(self._table, leased, now):
            return self.ask(now)
        return self._table

    def ask(self, now: float) -> GpuTable:
        """Ask nvidia-smi and return its table. now: monotonic seconds."""
        self._table = read_gpus(path=self.path)
        self._asked = now
        return self._table

    def known(self) -> Optional[GpuTable]:
        """Return the table last read, without asking."""
        return self._table

    def taken(self) -> Set[str]:
        """Return the uuids of known GPUs that somebody has whole, or another spool shares."""
        gpus = self._table["gpus"] if self._table is not None else []
        return {gpu["uuid"] for gpu in gpus if gpu["uuid"] and gpulock.is_taken(gpu["uuid"], self._spool)}

    def _age_allowed(self, table: GpuTable, leased: AbstractSet[str], now: float) -> float:
        if self._stirred > self._asked:
            return 0.0
        if table["state"] in NO_HARDWARE:
            return NONE_SECONDS
        if table["gpus"] and all(gpu["uuid"] in leased for gpu in table["gpus"] if gpu["usable"]):
            # Nothing can start before a lease ends, and that stirs.
            return NONE_SECONDS
        if self.freeing(now):
            return FREEING_SECONDS
        return FRESH_SECONDS if now - self._stirred < LIVELY_SECONDS else STALE_SECONDS
