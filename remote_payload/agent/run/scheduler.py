"""Which pending jobs may start now, on which GPUs, and why the others wait. Pure: no IO, `now` is an argument."""

from __future__ import annotations

from typing import AbstractSet, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from remote_payload.agent.machine.gpu import idle
from remote_payload.agent.wire.messages import GpuTable, GpuView

MEMORY_TOLERANCE = 0.95
"""Cards sold as 24 GB report 24,564 MiB or less, so 95 % of what is asked for is enough."""

AUTO = "auto"
"""`gpus` of a job that takes one where there is one."""

NO_HARDWARE = frozenset({"no_tool", "no_device"})
"""States of the GPU table that mean "this host has none", as opposed to "they cannot be seen now"."""


class Waiting(NamedTuple):
    """Why a job waits: a key of states.WAITING_REASONS, and a few words for people."""

    reason: str
    detail: str = ""


class Candidate(NamedTuple):
    """A pending job as the pick sees it. blocked: what it waits for apart from GPUs and CPU slots, or None."""

    job: str
    submitted_at: float
    order: int
    gpus: Union[int, str]
    gpu_memory_mib: int = 0
    blocked: Optional[Waiting] = None
    not_before: float = 0.0


class Launch(NamedTuple):
    """A job to start now, with the GPUs it gets (none for a CPU job)."""

    job: str
    gpus: Tuple[GpuView, ...] = ()


class Plan(NamedTuple):
    """What to start, in order, and the waiting reason of every other candidate."""

    launches: List[Launch]
    waiting: Dict[str, Waiting]


class Capacity(NamedTuple):
    """What the host has.

    table: the GPUs as nvidia-smi tells; None = not asked.
    leased: uuids of GPUs under a lease, ours or another user's.
    cpu_slots, cpu_live: how many jobs without GPU may run at once, and how many do.
    """

    table: Optional[GpuTable]
    leased: AbstractSet[str]
    cpu_slots: int
    cpu_live: int


def wanted_gpus(gpus: Union[int, str], table: Optional[GpuTable]) -> Optional[int]:
    """Return how many GPUs a job wants on this host.

    Args:
        gpus: a number, or "auto" = one where the host has a GPU, else none.
        table: the host's GPUs; None = not asked.

    Returns:
        None when "auto" cannot be decided now, because the GPUs were not asked or do not answer: a training job must
        not fall back to the CPU on a host whose driver is broken.
    """
    if not isinstance(gpus, str):
        return int(gpus)
    if table is None:
        return None
    if table["state"] in NO_HARDWARE:
        return 0
    return 1 if table["gpus"] else None


def pick(candidates: Sequence[Candidate], capacity: Capacity, now: float) -> Plan:
    """Choose what starts now.

    First come, first served by (submitted_at, order). Jobs with GPUs wait in that order and none overtakes one that
    waits for GPUs, else a job that wants many would never get them; jobs without GPUs never wait behind them. A job
    that waits for something else, or could never run on this host, holds up nobody.

    Args:
        candidates: pending jobs, in any order.
        capacity: what the host has.
        now: seconds since the epoch.
    """
    plan = Plan([], {})
    free = _free(capacity)
    slots = capacity.cpu_slots - capacity.cpu_live
    queue_waits = False
    for job in sorted(candidates, key=lambda each: (each.submitted_at, each.order)):
        held = _held(job, now)
        count = wanted_gpus(job.gpus, capacity.table)
        if held is not None:
            plan.waiting[job.job] = held
        elif count is None or (count > 0 and capacity.table is None):
            plan.waiting[job.job] = Waiting("no_gpu", _not_seen(capacity.table))
        elif count == 0:
            if slots > 0:
                slots -= 1
                plan.launches.append(Launch(job.job))
            else:
                plan.waiting[job.job] = Waiting(
                    "no_cpu", "{} of {} in use".format(capacity.cpu_live, capacity.cpu_slots)
                )
        else:
            never = _never(job, count, capacity)
            chosen = None if never or queue_waits else _choose(free, count, job.gpu_memory_mib)
            if chosen is None:
                queue_waits = queue_waits or not never
                plan.waiting[job.job] = Waiting("no_gpu", never or _busy_words(count, capacity))
            else:
                free = [gpu for gpu in free if gpu not in chosen]
                plan.launches.append(Launch(job.job, tuple(chosen)))
    return plan


def enough_memory(gpu: GpuView, wanted_mib: int) -> bool:
    """Tell whether a GPU has the memory a job asks for, free now. An unknown size counts as enough."""
    total = gpu["memory_total_mib"]
    return wanted_mib <= 0 or total is None or total - (gpu["memory_used_mib"] or 0) >= wanted_mib * MEMORY_TOLERANCE


def _held(job: Candidate, now: float) -> Optional[Waiting]:
    if job.blocked is not None:
        return job.blocked
    return Waiting("backoff") if job.not_before > now else None


def _free(capacity: Capacity) -> List[GpuView]:
    gpus = capacity.table["gpus"] if capacity.table is not None else []
    # None = its use is not known (vGPU, unified memory): then only leases can tell.
    return [gpu for gpu in gpus if gpu["uuid"] and gpu["uuid"] not in capacity.leased and idle(gpu) is not False]


def _choose(free: Sequence[GpuView], count: int, memory_mib: int) -> Optional[List[GpuView]]:
    """Take the smallest cards that are large enough, so that large ones stay free for those who need them."""
    fitting = [gpu for gpu in free if enough_memory(gpu, memory_mib)]
    fitting.sort(key=lambda gpu: (gpu["memory_total_mib"] or 0, gpu["index"]))
    return sorted(fitting[:count], key=lambda gpu: gpu["index"]) if len(fitting) >= count else None


def _never(job: Candidate, count: int, capacity: Capacity) -> str:
    """Say why this host can never run the job, or ""."""
    table = capacity.table
    gpus = table["gpus"] if table is not None else []
    if len(gpus) < count:
        has = len(gpus)
        return "it wants {} GPU{}, this host has {}".format(count, "" if count == 1 else "s", has or "none")
    large = [
        gpu
        for gpu in gpus
        if gpu["memory_total_mib"] is None or gpu["memory_total_mib"] >= job.gpu_memory_mib * MEMORY_TOLERANCE
    ]
    if len(large) < count:
        return "it wants {:,} MiB of GPU memory, more than this host's GPUs have".format(job.gpu_memory_mib)
    return ""


def _not_seen(table: Optional[GpuTable]) -> str:
    return table["message"] if table is not None else "the GPUs were not asked yet"


def _busy_words(count: int, capacity: Capacity) -> str:
    gpus = capacity.table["gpus"] if capacity.table is not None else []
    leased = sum(1 for gpu in gpus if gpu["uuid"] in capacity.leased)
    foreign = sum(1 for gpu in gpus if gpu["uuid"] not in capacity.leased and gpu["usable"] and idle(gpu) is False)
    broken = sum(1 for gpu in gpus if not gpu["usable"])
    parts = [
        "{} {}".format(number, word)
        for number, word in ((leased, "leased"), (foreign, "used by others"), (broken, "unusable"))
        if number
    ]
    return "it wants {} of {}: {}".format(count, len(gpus), ", ".join(parts) or "its turn has not come")
