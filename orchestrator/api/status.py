"""One look at every host: its GPUs and its jobs, or when it was last seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.api.core import Orch
from orchestrator.api.find import Located, each_once
from orchestrator.api.queues import QueueState, queue_state
from orchestrator.errors import OrchError
from orchestrator.remote.agent_link import AgentLink
from remote_payload.agent.wire.messages import GpuTable, JobView

STATUS_DEADLINE = 15.0


@dataclass(frozen=True)
class HostStatus:
    """A host as it is now, or as it was last seen; of its queue nothing is known then."""

    name: str
    gpus: GpuTable | None
    error: OrchError | None
    last_seen: float | None
    queue: QueueState = field(default_factory=QueueState)


@dataclass(frozen=True)
class StatusReport:
    """All hosts and jobs in sight."""

    hosts: list[HostStatus]
    jobs: list[Located]


def status_report(
    orch: Orch, hosts: Sequence[str] = (), deadline: float = STATUS_DEADLINE, since: float | None = None
) -> StatusReport:
    """Ask every host at once, one round trip each.

    Args:
        hosts: names; by default all.
        deadline: seconds after which a silent host is shown as last seen.
        since: jobs that ended before may be left out (seconds since the epoch).
    """
    answers = orch.ask(lambda link: look(orch, link, since), hosts, deadline)
    rows: list[HostStatus] = []
    jobs: list[Located] = []
    for name, answer in answers.items():
        if answer.value is not None:
            host, views = answer.value
            orch.remember(name, views)
            jobs += [Located(name, view) for view in views]
            rows.append(host)
        else:
            seen = orch.store.host_seen(name)
            jobs += orch.cached(name)
            rows.append(HostStatus(name, None, answer.error, seen.seen_at if seen else None))
    return StatusReport(rows, each_once(jobs, orch.store.sent_to))


def look(orch: Orch, link: AgentLink, since: float | None = None) -> tuple[HostStatus, list[JobView]]:
    """Return a host and its jobs as they are now, in one round trip. since: as for `status_report`."""
    said = link.status(project=orch.project, since=since)
    return HostStatus(link.name, said["gpus"], None, time.time(), queue_state(orch, link, said)), said["jobs"]
