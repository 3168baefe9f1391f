"""Prepare: the hosts get the code and build the environments, and nothing is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.api.core import Orch
from orchestrator.api.freeze import Frozen
from orchestrator.api.submit import MAX_ROUNDS, SentBytes, check_pythons, pack_request, upload
from orchestrator.errors import AgentError, HostError, OrchError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.link_types import Environment

ShowLog = Callable[[str, str, bytes], None]
"""Called with (host, job name, bytes) while a setup runs there, in a thread of its own for each host."""


@dataclass(frozen=True)
class Prepared:
    """An environment on a host: ready, or why not."""

    host: str
    jobs: tuple[str, ...]
    ready: bool
    detail: str


@dataclass
class Preparation:
    """What was begun.

    Args:
        begun: {host: its setups}.
        failed: hosts that could not be made ready, with why.
    """

    sent_files: int = 0
    sent_bytes: int = 0
    begun: dict[str, list[Environment]] = field(default_factory=dict)
    failed: dict[str, OrchError] = field(default_factory=dict)


def begin(orch: Orch, frozen: Frozen, progress: SentBytes | None = None) -> Preparation:
    """Send the code to every host that the jobs may go to, and let their setups begin there."""
    names = sorted({name for job in frozen.jobs for name in job.hosts})
    answers = orch.links.each(
        [orch.host(name) for name in names],
        lambda link: _begin_on(orch, link, frozen, progress),
        deadline=float("inf"),
    )
    made = Preparation()
    for host, answer in answers.items():
        if answer.value is None:
            made.failed[host] = answer.error or HostError(f"{host} did not answer", host=host)
            continue
        files, size, made.begun[host] = answer.value
        made.sent_files += files
        made.sent_bytes += size
    return made


def wait(orch: Orch, made: Preparation, show: ShowLog) -> list[Prepared]:
    """Wait until all setups are over; a host that is lost meanwhile is noted in `made.failed`.

    Args:
        show: gets what the setups print.
    """
    answers = orch.links.each(
        [orch.host(name) for name, setups in made.begun.items() if setups],
        lambda link: [_wait_for(link, each, show) for each in made.begun[link.name]],
        deadline=float("inf"),
    )
    done: list[Prepared] = []
    for host, answer in answers.items():
        done += answer.value or []
        if answer.error is not None:
            made.failed[host] = answer.error
    return done


def _begin_on(
    orch: Orch, link: AgentLink, frozen: Frozen, progress: SentBytes | None
) -> tuple[int, int, list[Environment]]:
    jobs = [job for job in frozen.jobs if link.name in job.hosts]
    check_pythons(link, [job.expanded.python for job in jobs])
    trees = {job.tree.snapshot_id: job.tree for job in jobs}
    submission = frozen.for_host([job.spec["id"] for job in jobs], orch.owner)
    request = pack_request(submission, {key: tree.manifest for key, tree in trees.items()}, {})
    files = size = 0
    for _ in range(MAX_ROUNDS):
        reply = link.prepare(request.body)
        missing = set(reply["missing"])
        if not missing:
            return files, size, reply["environments"]
        files += len(missing)
        size += upload(link, request.id, trees.values(), missing, progress)
    raise AgentError(f"{link.name} keeps losing files that were sent", "Try again; then `orch check`.", host=link.name)


def _wait_for(link: AgentLink, setup: Environment, show: ShowLog) -> Prepared:
    run = link.setup_log(setup["digest"])
    for data in run:
        show(link.name, setup["jobs"][0], data)
    return Prepared(link.name, tuple(setup["jobs"]), run.ready, run.detail)
