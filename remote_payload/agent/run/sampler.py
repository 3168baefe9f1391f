"""The keeper's look at the GPUs that attempts hold, written beside each attempt."""

from __future__ import annotations

import contextlib
import time
from typing import Dict, Mapping, Tuple

from remote_payload.agent.run.gpus import GpuWatch
from remote_payload.agent.spool import gpu_use
from remote_payload.agent.spool.paths import SpoolPaths

EARLY_SECONDS = 10.0
STEADY_SECONDS = 30.0
EARLY = 300.0
"""A lease this young is looked at more often: then it shows whether the GPU is used at all."""

Key = Tuple[str, int]


class Sampler:
    """Takes samples.

    Args:
        paths: of the spool.
        gpus: asks nvidia-smi.
    """

    def __init__(self, paths: SpoolPaths, gpus: GpuWatch) -> None:
        self._paths = paths
        self._gpus = gpus
        self._since: Dict[Key, float] = {}
        self._taken = float("-inf")

    def step(self, held: Mapping[Key, Mapping[str, int]], now: float) -> None:
        """Sample when it is time.

        Args:
            held: the GPUs by attempt, {(job, number): {uuid: hundredths}}.
            now: monotonic seconds.
        """
        self._since = {key: self._since.get(key, now) for key, uuids in held.items() if uuids}
        if not self._since:
            return
        young = any(now - since < EARLY for since in self._since.values())
        if now - self._taken < (EARLY_SECONDS if young else STEADY_SECONDS):
            return
        self._taken = now
        table = {gpu["uuid"]: gpu for gpu in self._gpus.ask(now)["gpus"]}
        for job, number in self._since:
            gpus = [table[uuid] for uuid in held[job, number] if uuid in table]
            with contextlib.suppress(OSError):  # a full disk, or a spool that was removed: only a picture is lost
                gpu_use.append(self._paths.attempt(job, number).gpu_use, gpus, time.time())
