"""What live attempts hold, counted anew at each tick of the keeper, and which cells of a job failed."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Set, Tuple

from remote_payload.agent.run.queue import Work
from remote_payload.agent.run.scheduler import WHOLE
from remote_payload.agent.wire.messages import GpuTable


class Tally:
    """Counts what is taken.

    Attributes:
        whole: uuids of GPUs leased whole.
        shared: {uuid: hundredths} of GPUs in parts.
        cpu: live attempts without a GPU.
        live: {group: live attempts}.
        held: {(job, attempt): {uuid: hundredths}}.
        unsure: some supervisor has not said yet which GPUs it has; then nobody shares.
    """

    def __init__(self) -> None:
        self.whole: Set[str] = set()
        self.shared: Dict[str, int] = {}
        self.cpu = 0
        self.live: Dict[str, int] = {}
        self.held: Dict[Tuple[str, int], Mapping[str, int]] = {}
        self.unsure = False

    def add(self, work: Work, given: Optional[Mapping[str, int]]) -> None:
        """Count a live attempt. given: what this keeper gave it, None when another keeper started it."""
        self.live[work.group] = self.live.get(work.group, 0) + 1
        leased = work.leased()
        held = given if leased is None else leased
        if held is None:
            self.unsure = self.unsure or work.spec["gpus"] != 0
        elif not held:
            self.cpu += 1
        self.held[work.id, work.attempt] = held or {}
        for uuid, hundredths in (held or {}).items():
            if hundredths >= WHOLE:
                self.whole.add(uuid)
            else:
                self.shared[uuid] = self.shared.get(uuid, 0) + hundredths

    def spare(self, most: Optional[int]) -> Optional[int]:
        """Return how many more GPUs may be taken when `most` is the limit (None = no limit)."""
        return None if most is None else max(0, most - len(self.whole | set(self.shared)))


class Failures:
    """Failed cells by group: after `max_failures` of them the rest of the group is held."""

    def __init__(self) -> None:
        self._failed: Dict[str, Set[str]] = {}

    def note(self, group: str, job: str, failed: bool) -> None:
        """Take in a job that is final."""
        jobs = self._failed.setdefault(group, set())
        (jobs.add if failed else jobs.discard)(job)

    def held(self, work: Work) -> int:
        """Return how many failed cells hold this one back, 0 = none do. One that is tried again counts no more."""
        jobs = self._failed.get(work.group, set())
        jobs.discard(work.id)
        most = int(work.spec.get("max_failures") or 0)
        return len(jobs) if most and len(jobs) >= most else 0


def only(table: GpuTable, numbers: Optional[Set[int]]) -> GpuTable:
    """Return the table with the GPUs that jobs may use on this host. numbers: their indices, None = all."""
    if numbers is None:
        return table
    return {**table, "gpus": [gpu for gpu in table["gpus"] if gpu["index"] in numbers]}
