"""Which pending jobs may start now, on which GPUs, and why the others wait. Pure: no IO, `now` is an argument."""

from __future__ import annotations

from typing import AbstractSet, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from remote_payload.agent.machine.gpu import idle
from remote_payload.agent.wire.gpu_names import of_type
from remote_payload.agent.wire.messages import GpuTable, GpuView

MEMORY_TOLERANCE = 0.95
"""Cards sold as 24 GB report 24,564 MiB or less, so 95 % of what is asked for is enough."""

AUTO = "auto"
"""`gpus` of a job that takes one where there is one."""

WHOLE = 100
"""A GPU in hundredths, the unit of shares."""

NO_HARDWARE = frozenset({"no_tool", "no_device"})
"""States of the GPU table that mean "this host has none", as opposed to "they cannot be seen now"."""

NO_SHARES: Mapping[str, int] = {}


class Waiting(NamedTuple):
    """Why a job waits: a key of states.WAITING_REASONS, and a few words for people."""

    reason: str
    detail: str = ""


class Candidate(NamedTuple):
    """A pending job as the pick sees it.

    blocked: what it waits for apart from GPUs, CPU slots and its group, or None.
    not_before: seconds, by the caller's clock.
    priority: higher goes first.
    share: hundredths of each of its GPUs.
    gpu_type: words that must stand in the GPU's name, "" = any.
    group, max_parallel: at most so many jobs of the group run at once; 0 = no limit.
    """

    job: str
    submitted_at: float
    order: int
    gpus: Union[int, str]
    gpu_memory_mib: int = 0
    blocked: Optional[Waiting] = None
    not_before: float = 0.0
    priority: int = 0
    share: int = WHOLE
    gpu_type: str = ""
    group: str = ""
    max_parallel: int = 0


class Launch(NamedTuple):
    """A job to start now, with the GPUs it gets (none for a CPU job), and how much of each, in hundredths."""

    job: str
    gpus: Tuple[GpuView, ...] = ()
    share: int = WHOLE


class Plan(NamedTuple):
    """What to start, in order, and the waiting reason of every other candidate."""

    launches: List[Launch]
    waiting: Dict[str, Waiting]


class Capacity(NamedTuple):
    """What the host has.

    table: the GPUs as nvidia-smi tells, those that jobs may use; None = not asked.
    leased: uuids of GPUs that are not to be had: leased whole, shared by another user, or not given back yet.
    cpu_slots, cpu_live: how many jobs without GPU may run at once, and how many do.
    shared: {uuid: hundredths} that jobs of this spool share now.
    spare: how many more GPUs this spool may take, None = as many as there are.
    live: {group: attempts that run now}.
    dirty: {uuid: MiB} of GPUs whose memory is still used although their attempt has ended.
    """

    table: Optional[GpuTable]
    leased: AbstractSet[str]
    cpu_slots: int
    cpu_live: int
    shared: Mapping[str, int] = NO_SHARES
    spare: Optional[int] = None
    live: Mapping[str, int] = NO_SHARES
    dirty: Mapping[str, Optional[int]] = {}


def demand(gpus: Union[int, float, str]) -> Tuple[Union[int, str], int]:
    """Return (GPUs, hundredths of each) of a spec's `gpus`: 2 -> (2, 100), 0.5 -> (1, 50), "auto" -> ("auto", 100).

    Raises:
        TypeError, ValueError: it is none of these.
    """
    if gpus == AUTO:
        return AUTO, WHOLE
    number = float(gpus)
    if 0 < number < 1:
        return 1, max(1, round(number * WHOLE))
    if number != int(number) or number < 0:
        raise ValueError("gpus: {}".format(gpus))
    return int(number), WHOLE


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

    By priority, then first come, first served by (submitted_at, order). Jobs with GPUs wait in that order and none
    overtakes one that waits for GPUs, else a job that wants many would never get them; jobs without GPUs never wait
    behind them. A job that waits for something else, or could never run on this host, holds up nobody.

    Args:
        candidates: pending jobs, in any order.
        capacity: what the host has.
        now: seconds, by the clock of `not_before`.
    """
    plan = Plan([], {})
    room = _Room(capacity)
    for job in sorted(candidates, key=lambda each: (-each.priority, each.submitted_at, each.order)):
        answer = _held(job, now) or room.full_group(job) or room.offer(job)
        if isinstance(answer, Launch):
            plan.launches.append(answer)
        else:
            plan.waiting[job.job] = answer
    return plan


class _Room:
    """What is left of the host while jobs are looked at one after another."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._shared = dict(capacity.shared)
        self._free = _free(capacity)
        self._slots = capacity.cpu_slots - capacity.cpu_live
        self._spare = capacity.spare
        self._live = dict(capacity.live)
        self._queue_waits = False

    def full_group(self, job: Candidate) -> Optional[Waiting]:
        """Return what a job waits for whose group has all the attempts it may have."""
        if not job.max_parallel or self._live.get(job.group, 0) < job.max_parallel:
            return None
        return Waiting("max_parallel", "{} at once".format(job.max_parallel))

    def offer(self, job: Candidate) -> Union[Launch, Waiting]:
        """Give a job what it wants, or say why it waits."""
        table = self._capacity.table
        count = wanted_gpus(job.gpus, table)
        if count is None or (count > 0 and table is None):
            return Waiting("no_gpu", _not_seen(table))
        answer = self._cpu(job) if count == 0 else self._gpus(job, count)
        if isinstance(answer, Launch):
            self._live[job.group] = self._live.get(job.group, 0) + 1
        return answer

    def _cpu(self, job: Candidate) -> Union[Launch, Waiting]:
        if self._slots <= 0:
            return Waiting("no_cpu", "{} of {} in use".format(self._capacity.cpu_live, self._capacity.cpu_slots))
        self._slots -= 1
        return Launch(job.job)

    def _gpus(self, job: Candidate, count: int) -> Union[Launch, Waiting]:
        never = _never(job, count, self._capacity)
        if never:
            return Waiting("no_gpu", never)
        chosen = None if self._queue_waits else self._choose(job, count)
        if chosen is None:
            self._queue_waits = True
            return Waiting("no_gpu", _busy_words(job, count, self._capacity))
        self._take(job, chosen)
        return Launch(job.job, tuple(chosen), job.share)

    def _choose(self, job: Candidate, count: int) -> Optional[List[GpuView]]:
        """Take the smallest cards that are large enough, so that large ones stay free for those who need them."""
        if job.share < WHOLE:
            beside = self._fullest(job)
            if beside is not None:
                return [beside]
        if self._spare is not None and self._spare < count:
            return None
        fitting = [gpu for gpu in self._free if _suits(gpu, job) and enough_memory(gpu, job.gpu_memory_mib)]
        fitting.sort(key=lambda gpu: (gpu["memory_total_mib"] or 0, gpu["index"]))
        return sorted(fitting[:count], key=lambda gpu: gpu["index"]) if len(fitting) >= count else None

    def _fullest(self, job: Candidate) -> Optional[GpuView]:
        """The shared GPU on which the least is left over, so that whole ones stay whole."""
        gpus = self._capacity.table["gpus"] if self._capacity.table is not None else []
        fitting = [
            gpu
            for gpu in gpus
            if gpu["usable"]
            and 0 < self._shared.get(gpu["uuid"], 0) <= WHOLE - job.share
            and gpu["uuid"] not in self._capacity.leased
            and _suits(gpu, job)
            and enough_memory(gpu, job.gpu_memory_mib)
        ]
        return max(fitting, key=lambda gpu: (self._shared[gpu["uuid"]], -gpu["index"]), default=None)

    def _take(self, job: Candidate, chosen: Sequence[GpuView]) -> None:
        new = [gpu for gpu in chosen if gpu in self._free]
        self._free = [gpu for gpu in self._free if gpu not in new]
        if self._spare is not None:
            self._spare -= len(new)
        if job.share < WHOLE:
            for gpu in chosen:
                self._shared[gpu["uuid"]] = self._shared.get(gpu["uuid"], 0) + job.share


def enough_memory(gpu: GpuView, wanted_mib: int) -> bool:
    """Tell whether a GPU has the memory a job asks for, free now. An unknown size counts as enough."""
    total = gpu["memory_total_mib"]
    return wanted_mib <= 0 or total is None or total - (gpu["memory_used_mib"] or 0) >= wanted_mib * MEMORY_TOLERANCE


def _suits(gpu: GpuView, job: Candidate) -> bool:
    return of_type(gpu["name"], job.gpu_type)


def _held(job: Candidate, now: float) -> Optional[Waiting]:
    if job.blocked is not None:
        return job.blocked
    return Waiting("backoff") if job.not_before > now else None


def _free(capacity: Capacity) -> List[GpuView]:
    gpus = capacity.table["gpus"] if capacity.table is not None else []
    taken = capacity.leased | set(capacity.shared)
    # None = its use is not known (vGPU, unified memory): then only leases can tell.
    return [gpu for gpu in gpus if gpu["uuid"] and gpu["uuid"] not in taken and idle(gpu) is not False]


def _never(job: Candidate, count: int, capacity: Capacity) -> str:
    """Say why this host can never run the job, or ""."""
    gpus = capacity.table["gpus"] if capacity.table is not None else []
    plural = "" if count == 1 else "s"
    if len(gpus) < count:
        return "it wants {} GPU{}, this host has {}".format(count, plural, len(gpus) or "none")
    of_its_type = [gpu for gpu in gpus if _suits(gpu, job)]
    if len(of_its_type) < count:
        names = ", ".join(sorted({gpu["name"] for gpu in gpus}))
        return "it wants {} GPU{} of type {}, this host has {}".format(count, plural, job.gpu_type, names)
    large = [
        gpu
        for gpu in of_its_type
        if gpu["memory_total_mib"] is None or gpu["memory_total_mib"] >= job.gpu_memory_mib * MEMORY_TOLERANCE
    ]
    if len(large) < count:
        return "it wants {:,} MiB of GPU memory, more than this host's GPUs have".format(job.gpu_memory_mib)
    return ""


def _not_seen(table: Optional[GpuTable]) -> str:
    return table["message"] if table is not None else "the GPUs were not asked yet"


def _busy_words(job: Candidate, count: int, capacity: Capacity) -> str:
    gpus = capacity.table["gpus"] if capacity.table is not None else []
    taken = capacity.leased | set(capacity.shared)
    leased = sum(1 for gpu in gpus if gpu["uuid"] in taken)
    free = [gpu for gpu in gpus if gpu["uuid"] not in taken and gpu["usable"]]
    dirty = [capacity.dirty[gpu["uuid"]] for gpu in free if gpu["uuid"] in capacity.dirty]
    foreign = sum(1 for gpu in free if gpu["uuid"] not in capacity.dirty and idle(gpu) is False)
    broken = sum(1 for gpu in gpus if not gpu["usable"])
    parts = [
        "{} {}".format(number, word)
        for number, word in ((leased, "leased"), (foreign, "used by others"), (broken, "unusable"))
        if number
    ]
    parts += ["1 dirty ({} MiB, owner unseen)".format("?" if mib is None else mib) for mib in dirty]
    wants = str(count) if job.share == WHOLE else "{:g}".format(job.share / WHOLE)
    return "it wants {} of {}: {}".format(wants, len(gpus), ", ".join(parts) or "its turn has not come")
