"""Which host gets which job. Pure: everything it knows comes in as arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import RefusedError


@dataclass(frozen=True)
class HostLoad:
    """What is known of a host when jobs are placed.

    Args:
        name: the host's name.
        gpu_memory_mib: memory of each usable GPU, MiB; None where the tool does not say.
        free_gpus: how many of them nobody uses.
        queue: live jobs there now.
    """

    name: str
    gpu_memory_mib: tuple[int | None, ...] = ()
    free_gpus: int = 0
    queue: int = 0


@dataclass(frozen=True)
class Wish:
    """What one job asks for: the hosts it may go to, in the person's order, and its GPUs ("auto" or a count)."""

    key: str
    hosts: tuple[str, ...]
    gpus: int | float | str = "auto"
    gpu_memory_mib: int = 0


MEMORY_TOLERANCE = 0.95
"""Cards sold as 24 GB report 24,564 MiB, so 5 % less than asked for is enough."""


def fits(wish: Wish, load: HostLoad) -> bool:
    """Return whether the host could ever run the job, once everything else there is gone."""
    wanted = 0 if wish.gpus == "auto" else int(wish.gpus)
    big_enough = [m for m in load.gpu_memory_mib if m is None or m >= wish.gpu_memory_mib * MEMORY_TOLERANCE]
    if wish.gpu_memory_mib and wish.gpus == "auto":
        wanted = 1
    return len(big_enough) >= wanted


def place(wishes: Sequence[Wish], loads: Mapping[str, HostLoad]) -> dict[str, str]:
    """Return the host of each job: first by free GPUs that fit, then by the shorter queue, then by the order given.

    Args:
        wishes: the jobs in submission order.
        loads: what is known, by host; a host that is missing here is unreachable.

    Raises:
        RefusedError: no reachable host can ever run one of the jobs.
    """
    free = {name: load.free_gpus for name, load in loads.items()}
    queue = {name: load.queue for name, load in loads.items()}
    placed: dict[str, str] = {}
    for wish in wishes:
        able = [name for name in wish.hosts if name in loads and fits(wish, loads[name])]
        if not able:
            raise RefusedError(_why_not(wish, loads), "Ask for less under `resources`, or name another host.")
        wanted = _wanted(wish, loads)
        best = min(able, key=lambda name: (free[name] < wanted[name], queue[name], wish.hosts.index(name)))
        placed[wish.key] = best
        free[best] -= wanted[best]
        queue[best] += 1
    return placed


def _wanted(wish: Wish, loads: Mapping[str, HostLoad]) -> dict[str, int]:
    if wish.gpus != "auto":
        return dict.fromkeys(loads, int(wish.gpus))
    return {name: 1 if load.gpu_memory_mib else 0 for name, load in loads.items()}


def _why_not(wish: Wish, loads: Mapping[str, HostLoad]) -> str:
    known = [name for name in wish.hosts if name in loads]
    if not known:
        return f"no host for {wish.key} can be reached ({', '.join(wish.hosts)})"
    asked = "a GPU" if wish.gpus == "auto" else f"{wish.gpus} GPU(s)"
    memory = f" with {wish.gpu_memory_mib} MiB" if wish.gpu_memory_mib else ""
    have = "; ".join(f"{name} has {_describe(loads[name])}" for name in known)
    return f"{wish.key} asks for {asked}{memory}, and that can never be met: {have}"


def _describe(load: HostLoad) -> str:
    if not load.gpu_memory_mib:
        return "no GPU"
    sizes = ", ".join("?" if m is None else f"{m} MiB" for m in load.gpu_memory_mib)
    return f"{len(load.gpu_memory_mib)} GPU(s) ({sizes})"
