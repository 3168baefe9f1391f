"""Delivers the cancels that were kept while a host could not be reached."""

from __future__ import annotations

from orchestrator.errors import AgentError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.store import Store


def deliver(store: Store, link: AgentLink) -> list[str]:
    """Deliver what is kept for this host; return the ids of the jobs that the host has heard of now.

    May be repeated: a job that ended meanwhile stays as it is. What the host refuses is kept.

    Raises:
        UnreachableError: the line broke again; what was not delivered is kept.
    """
    kept = store.kept_cancels(link.name, link.host_id)
    told: list[str] = []
    gone: list[str] = []
    for each in kept:
        try:
            link.cancel([each.job], each.by)
            told.append(each.job)
        except AgentError as error:
            # Another machine under the same name knows nothing of it: then it waits for the one it was meant for.
            if error.code == "not_found" and each.host_id in (None, link.host_id):
                gone.append(each.job)
    if told or gone:
        store.drop_cancels([*told, *gone])
    return told
