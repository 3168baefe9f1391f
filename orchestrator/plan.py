"""Which host gets which job. Pure: everything it knows comes in as arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from orchestrator.errors import RefusedError
from remote_payload.agent.wire.gpu_names import of_type


@dataclass(frozen=True)
class HostLoad:
    """What is known of a host when jobs are placed.

    Args:
        name: the host's name.
        gpu_memory_mib: memory of each usable GPU, MiB; None where the tool does not say.
        free_gpus: how many of them nobody uses.
        queue: live jobs there now.
        gpu_names: their names, in the same order; empty = not known.
        speed: of the slowest of them, in any unit; the same for all hosts that are compared.
        max_gpus: how many of them jobs may use at once; None = all.
        unseen: why the GPUs cannot be seen now; "" = what stands here is all there is.
    """

    name: str
    gpu_memory_mib: tuple[int | None, ...] = ()
    free_gpus: int = 0
    queue: int = 0
    gpu_names: tuple[str, ...] = ()
    speed: float = 0.0
    max_gpus: int | None = None
    unseen: str = ""


@dataclass(frozen=True)
class Wish:
    """What one job asks for: hosts it may go to, in the person's order, and GPUs ("auto", a count, or a part).

    Jobs of one group ("" = none) go to the same host.
    """

    key: str
    hosts: tuple[str, ...]
    gpus: int | float | str = "auto"
    gpu_memory_mib: int = 0
    gpu_type: str = ""
    group: str = ""

    def of_group(self, group: str) -> Wish:
        """Return the same wish as part of a group."""
        return replace(self, group=group)


@dataclass(frozen=True)
class Waiting:
    """A job that waits on a host and may go to others."""

    wish: Wish
    host: str


MAX_NAMED = 5
MEMORY_TOLERANCE = 0.95
"""Cards sold as 24 GB report 24,564 MiB, so 5 % less than asked for is enough."""


def fits(wish: Wish, load: HostLoad) -> bool:
    """Return whether the host could ever run the job, once everything else there is gone."""
    if load.unseen:
        return True
    wanted = 0 if wish.gpus == "auto" else ceil(float(wish.gpus))
    if (wish.gpu_memory_mib or wish.gpu_type) and wish.gpus == "auto":
        wanted = 1
    names = load.gpu_names or ("",) * len(load.gpu_memory_mib)
    good = [
        memory
        for memory, name in zip(load.gpu_memory_mib, names, strict=True)
        if (memory is None or memory >= wish.gpu_memory_mib * MEMORY_TOLERANCE) and of_type(name, wish.gpu_type)
    ]
    return min(len(good), len(good) if load.max_gpus is None else load.max_gpus) >= wanted


def place(wishes: Sequence[Wish], loads: Mapping[str, HostLoad]) -> dict[str, str]:
    """Return the host of each job: by free GPUs that fit, the shorter queue, the faster GPUs, then the order given.

    A host whose GPUs cannot be seen now comes last.

    Args:
        wishes: the jobs in submission order.
        loads: what is known, by host; a host that is missing here is unreachable.

    Raises:
        RefusedError: no reachable host can ever run one of the jobs.
    """
    free: dict[str, float] = {name: load.free_gpus for name, load in loads.items()}
    queue = {name: load.queue for name, load in loads.items()}
    placed: dict[str, str] = {}
    for members in _groups(wishes):
        able = _able(members, loads)
        # What the group's largest job needs decides: it is the one that may have to wait.
        largest = max(members, key=lambda wish: 0.5 if wish.gpus == "auto" else float(wish.gpus))
        wanted = _wanted(largest, loads)

        def badness(
            name: str, wanted: Mapping[str, float] = wanted, first: Wish = members[0]
        ) -> tuple[bool, bool, int, float, int]:
            load = loads[name]
            return bool(load.unseen), free[name] < wanted[name], queue[name], -load.speed, first.hosts.index(name)

        best = min(able, key=badness)
        placed.update({wish.key: best for wish in members})
        free[best] -= wanted[best]
        queue[best] += len(members)
    return placed


def _groups(wishes: Sequence[Wish]) -> list[list[Wish]]:
    found: dict[tuple[str, str], list[Wish]] = {}
    for wish in wishes:
        found.setdefault(("group", wish.group) if wish.group else ("job", wish.key), []).append(wish)
    return list(found.values())


def _able(members: Sequence[Wish], loads: Mapping[str, HostLoad]) -> list[str]:
    """Return the hosts that can run every job of a group.

    Raises:
        RefusedError: there is none.
    """
    per_job = [[name for name in wish.hosts if name in loads and fits(wish, loads[name])] for wish in members]
    for wish, able in zip(members, per_job, strict=True):
        if not able:
            raise RefusedError(_why_not(wish, loads), "Ask for less under `resources`, or name another host.")
    common = [name for name in per_job[0] if all(name in able for able in per_job)]
    if not common:
        names = ", ".join(wish.key for wish in members[:MAX_NAMED])
        raise RefusedError(
            f"{names} need each other and so run on one host, and no host can run all of them",
            "Ask for less under `resources`, or name another host.",
        )
    return common


def balance(waiting: Sequence[Waiting], loads: Mapping[str, HostLoad]) -> dict[str, str]:
    """Return {job: new host} of waiting jobs that would start sooner elsewhere.

    A job goes where enough GPUs are free for it; else from the longest queue to one shorter by two or more.

    Args:
        waiting: the jobs in the order they would start.
        loads: every reachable host; `queue` counts the waiting ones too.
    """
    free: dict[str, float] = {name: load.free_gpus for name, load in loads.items()}
    queue = {name: load.queue for name, load in loads.items()}
    moved: dict[str, str] = {}
    for job in waiting:
        wish = job.wish
        able = [name for name in wish.hosts if name in loads and name != job.host and fits(wish, loads[name])]
        wanted = _wanted(wish, loads)
        if job.host not in loads or free[job.host] >= wanted[job.host] > 0:
            # It starts where it is as soon as its host looks.
            free[job.host] = free.get(job.host, 0) - wanted.get(job.host, 0)
            continue
        better = [name for name in able if free[name] >= wanted[name] > 0 or queue[name] + 2 <= queue[job.host]]
        if not better:
            continue
        best = min(better, key=lambda name: (free[name] < wanted[name], queue[name], -loads[name].speed))
        moved[wish.key] = best
        free[best] -= wanted[best]
        queue[best] += 1
        queue[job.host] -= 1
    return moved


def _wanted(wish: Wish, loads: Mapping[str, HostLoad]) -> dict[str, float]:
    if wish.gpus != "auto":
        return dict.fromkeys(loads, float(wish.gpus))
    return {name: 1.0 if load.gpu_memory_mib else 0.0 for name, load in loads.items()}


def _why_not(wish: Wish, loads: Mapping[str, HostLoad]) -> str:
    known = [name for name in wish.hosts if name in loads]
    if not known:
        return f"no host for {wish.key} can be reached ({', '.join(wish.hosts)})"
    asked = "a GPU" if wish.gpus == "auto" else f"{wish.gpus} GPU(s)"
    memory = f" with {wish.gpu_memory_mib} MiB" if wish.gpu_memory_mib else ""
    memory += f" of type {wish.gpu_type}" if wish.gpu_type else ""
    have = "; ".join(f"{name} has {_describe(loads[name])}" for name in known)
    return f"{wish.key} asks for {asked}{memory}, and that can never be met: {have}"


def _describe(load: HostLoad) -> str:
    if not load.gpu_memory_mib:
        return "no GPU"
    limit = "" if load.max_gpus is None else f", of which orch may use {load.max_gpus}"
    names = load.gpu_names or ("",) * len(load.gpu_memory_mib)
    memories = ["?" if m is None else f"{m} MiB" for m in load.gpu_memory_mib]
    sizes = ", ".join(f"{name} {memory}".strip() for name, memory in zip(names, memories, strict=True))
    return f"{len(load.gpu_memory_mib)} GPU(s) ({sizes}){limit}"
