"""`needs`: every name is a job of the file, none waits for itself, and none is left out of what is submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.errors import ConfigError, UsageError
from orchestrator.spec.build import RawJob
from orchestrator.spec.jobs import ExpandedJob
from orchestrator.spec.nodes import Place, Seq
from orchestrator.spec.problems import Problems
from orchestrator.spec.words import listed, near


def check_needs(raws: Sequence[RawJob], problems: Problems) -> None:
    """Note every need that names no job, and every cycle once."""
    names = {raw.name for raw in raws}
    graph: dict[str, list[str]] = {}
    for raw in raws:
        graph[raw.name] = []
        for need, place in _needs(raw):
            if need in names:
                graph[raw.name].append(need)
            else:
                problems.add(
                    place,
                    f"job {raw.name!r} needs {need[:60]!r}, and there is no such job{near(need, names)}",
                    f"There are: {listed(names - {raw.name})}." if len(names) > 1 else "",
                )
    told: set[str] = set()
    for raw in raws:
        cycle = _cycle(raw.name, graph)
        if cycle and not told & set(cycle):
            told.update(cycle)
            places = dict(_needs(raw))
            words = " needs ".join(repr(name) for name in [*cycle, cycle[0]])
            problems.add(places[cycle[1 % len(cycle)]], f"`needs` goes in a circle: {words}")


def require_needs(jobs: Sequence[ExpandedJob]) -> None:
    """Let a choice of jobs pass that holds what each of them needs.

    Raises:
        UsageError: a needed job was left out.
    """
    chosen = {job.job for job in jobs}
    for job in jobs:
        for need in job.needs:
            if need.job not in chosen:
                raise UsageError(
                    f"{job.name} needs {need.job}, which is left out", f"Add it: -j {job.job} -j {need.job}"
                )


def with_needed(names: set[str], jobs: Sequence[ExpandedJob]) -> set[str]:
    """Return names of jobs, and of all that they need, directly or not. Pure."""
    needed = {job.job: [need.job for need in job.needs] for job in jobs}
    found, left = set(names), list(names)
    while left:
        new = [name for name in needed.get(left.pop(), []) if name not in found]
        found.update(new)
        left += new
    return found


def together(jobs: Sequence[ExpandedJob]) -> dict[str, str]:
    """Return {job: the first job of the file that it is bound to by `needs`}: what is bound runs on one host. Pure."""
    root = {job.job: job.job for job in jobs}

    def top(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    order = {name: index for index, name in enumerate(root)}
    for job in jobs:
        for need in job.needs:
            first, second = sorted((top(job.job), top(need.job)), key=order.__getitem__)
            root[second] = first
    return {name: top(name) for name in root}


def common_hosts(jobs: Sequence[ExpandedJob], hosts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return {cell: hosts it may go to}, narrowed to those that all it is bound to may go to as well.

    Args:
        hosts: {cell: hosts}, in the person's order.

    Raises:
        ConfigError: two jobs that are bound to each other have no host in common.
    """
    bound = together(jobs)
    groups: dict[str, list[ExpandedJob]] = {}
    for job in jobs:
        groups.setdefault(bound[job.job], []).append(job)
    narrowed: dict[str, list[str]] = {}
    for group in groups.values():
        common = set.intersection(*(set(hosts[job.name]) for job in group))
        if not common:
            at = next(need.position for job in group for need in job.needs)
            names = listed(dict.fromkeys(job.job for job in group))
            raise ConfigError(
                f"{at}: what needs each other runs on one host, and {names} have none in common",
                "Give them the same `hosts`.",
            )
        narrowed.update({job.name: [host for host in hosts[job.name] if host in common] for job in group})
    return narrowed


def _needs(raw: RawJob) -> list[tuple[str, Place]]:
    entry = raw.node.entries.get("needs")
    if entry is None:
        return []
    nodes = entry.node.items if isinstance(entry.node, Seq) else (entry.node,)
    return [(name, node.place) for name, node in zip(raw.model.needs or (), nodes, strict=False)]


def _cycle(start: str, graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the jobs of a circle that begins and ends at `start`, [] when there is none."""
    paths = [[start]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        for name in graph.get(path[-1], ()):
            if name == start:
                return path
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return []
