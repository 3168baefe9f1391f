"""What the GPUs of an attempt did: samples that the keeper writes, and what they say. One JSON object a line."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional, Sequence

from remote_payload.agent.wire.messages import GpuView

UNUSED_MIB = 300
UNUSED_PCT = 5
UNUSED_SECONDS = 120.0
TAIL_BYTES = 16384
MAX_BYTES = 2 * 1024**2
"""A file that grew beyond is not written any further: a month of samples."""


def append(path: str, gpus: Sequence[GpuView], at: float) -> None:
    """Add one sample of some GPUs.

    Args:
        path: the attempt's gpu.jsonl.
        at: seconds since the epoch.

    Raises:
        OSError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size < MAX_BYTES:
            os.write(descriptor, "".join(json.dumps(_sample(gpu, at)) + "\n" for gpu in gpus).encode("ascii"))
    finally:
        os.close(descriptor)


def read_tail(path: str) -> List[Dict[str, Any]]:
    """Return the last samples, oldest first; a torn or odd line is left out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return []
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    finally:
        os.close(descriptor)
    samples = []
    for line in data.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("at"), (int, float)):
            samples.append(said)
    return samples


def unused(samples: Sequence[Dict[str, Any]], now: float) -> Optional[int]:
    """Return the index of a GPU that is held and not used: under 300 MiB and 5 % for the last two minutes. Pure.

    Args:
        samples: oldest first, of one attempt.
        now: seconds since the epoch.

    Returns:
        None when each is used, or that is not known (no values, or not two minutes of them).
    """
    by_gpu: Dict[Any, List[Dict[str, Any]]] = {}
    for sample in samples:
        by_gpu.setdefault(sample.get("index"), []).append(sample)
    for index, own in sorted(by_gpu.items(), key=lambda pair: str(pair[0])):
        before = [each for each in own if each["at"] <= now - UNUSED_SECONDS]
        recent = [*before[-1:], *(each for each in own if each["at"] > now - UNUSED_SECONDS)]
        if before and len(recent) > 1 and isinstance(index, int) and all(map(_rests, recent)):
            return index
    return None


def _rests(sample: Dict[str, Any]) -> bool:
    memory, busy = sample.get("mem"), sample.get("util")
    return isinstance(memory, int) and memory < UNUSED_MIB and isinstance(busy, int) and busy < UNUSED_PCT


def _sample(gpu: GpuView, at: float) -> Dict[str, Any]:
    return {
        "at": round(at, 3),
        "index": gpu["index"],
        "uuid": gpu["uuid"],
        "util": gpu["utilization_pct"],
        "mem": gpu["memory_used_mib"],
        "power": gpu["power_w"],
        "temp": gpu["temperature_c"],
    }
