"""Gives secrets to jobs that wait for them again: those kept in memory are gone after a reboot of the host."""

from __future__ import annotations

from orchestrator.errors import AgentError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.spec.jobs import Secret
from orchestrator.spec.secrets import find_secrets
from orchestrator.store import Store


def give(store: Store, link: AgentLink) -> list[str]:
    """Give a host the secrets its jobs wait for, as far as they are set on this laptop; return those jobs' ids.

    Only what this laptop itself sent to this host with these very jobs: a host cannot ask for anything else.

    Raises:
        UnreachableError: the line broke; nothing is lost by it.
    """
    values: dict[str, dict[str, str]] = {}
    for job, names in link.opened.get("secrets_needed", {}).items():
        ours = store.secrets_of(job, link.name)
        found = find_secrets([(Secret(name, optional=True), "") for name in names if name in ours])
        if found and set(names) <= set(found):
            values[job] = found
    if not values:
        return []
    try:
        link.secrets(values)
    except AgentError:
        return []
    return list(values)
