"""Words offered by the shell's completion: from the laptop's own state, never over the network."""

from __future__ import annotations


def hosts(incomplete: str) -> list[str]:
    """Return the names of hosts in the inventory that begin with what was typed."""
    from orchestrator.hosts.inventory import Inventory
    from orchestrator.paths import orch_home

    return [entry.name for entry in Inventory(orch_home()).list() if entry.name.startswith(incomplete)]


def jobs(incomplete: str) -> list[str]:
    """Return names and ids of jobs last seen that begin with what was typed."""
    from orchestrator.paths import orch_home
    from orchestrator.store import Store

    store = Store(orch_home() / "orch.db")
    try:
        words: dict[str, None] = {}
        for _, view, _ in store.cached_views():
            for word in (view["name"], view["id"], view["submission"]):
                if word.startswith(incomplete):
                    words[word] = None
        return list(words)[:100]
    finally:
        store.close()


def hosts_and_jobs(incomplete: str) -> list[str]:
    """Return hosts first, then jobs."""
    return hosts(incomplete) + jobs(incomplete)
