"""`orch move`: what waits goes to another host, or to another place in its queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.api import Located, Orch
from orchestrator.api import move as moving
from orchestrator.cli import ask
from orchestrator.cli.console import emit, say
from orchestrator.cli.opening import opened
from orchestrator.cli.plan_view import upload_bar
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_OK, EXIT_REFUSED, UsageError
from orchestrator.spec.jobs import Secret
from orchestrator.spec.secrets import find_secrets


def move(words: Sequence[str], host: str | None, priority: int | None, balance: bool, yes: bool) -> int:
    """Do `orch move`."""
    if sum((host is not None, priority is not None, balance)) != 1:
        raise UsageError("where to?", "Give one of --host NAME, --priority N and --balance.")
    if not balance and not words:
        raise UsageError("which job?", "Name it, as `orch status` shows it.")
    with opened() as orch:
        if priority is not None:
            return _prioritise(orch, orch.find(words), priority)
        if host is not None:
            orch.host(host)
            return _move(orch, {host: orch.find(words)}, yes)
        there = moving.balanced(orch)
        if not there:
            say("nothing to move: no waiting job would start sooner on another host")
            return EXIT_OK
        return _move(orch, there, yes)


def values_of(names: Iterable[str]) -> dict[str, str]:
    """Return the secrets of these names that are set on this laptop."""
    return find_secrets([(Secret(name, optional=True), "") for name in names])


def _prioritise(orch: Orch, jobs: Sequence[Located], priority: int) -> int:
    changed = set(moving.prioritise(orch, jobs, priority))
    for job in jobs:
        if job.view["id"] in changed:
            say(f"{job.view['name']}: priority {priority}")
        else:
            say(f"{job.view['name']} does not wait any more: it is {job.view['state']}", "yellow")
    if GLOBALS.json:
        emit([{"id": ident, "priority": priority} for ident in sorted(changed)])
    return EXIT_OK


def _move(orch: Orch, there: dict[str, list[Located]], yes: bool) -> int:
    jobs = [job for group in there.values() for job in group]
    if len(jobs) > 1 and not yes:
        ask.confirm(f"Move {len(jobs)} jobs ({', '.join(f'{len(group)} to {host}' for host, group in there.items())})?")
    rows = []
    refused = 0
    for host, group in there.items():
        with upload_bar() as bar:
            result = moving.move(orch, group, host, values_of, bar)
        refused += len(result.refused)
        for job in group:
            ident, why = job.view["id"], result.refused.get(job.view["id"])
            said = (
                f"{job.view['name']} stays on {job.host}: {why}" if why else f"{job.view['name']}: {job.host} -> {host}"
            )
            say(said, "yellow" if why else "")
            rows.append({"id": ident, "name": job.view["name"], "host": job.host if why else host, "refused": why})
    if GLOBALS.json:
        emit(rows)
    return EXIT_REFUSED if refused else EXIT_OK
