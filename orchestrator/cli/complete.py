"""Words offered by the shell's completion: from the laptop's own state, never over the network."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.errors import OrchError

MOST = 100
"""Words offered at once."""
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a name may look like. Shells evaluate what a completion prints, and names of jobs come from hosts."""


def _offer(words: Iterable[str], incomplete: str) -> list[str]:
    fitting = (word for word in words if word.startswith(incomplete) and _HARMLESS.fullmatch(word))
    return list(dict.fromkeys(fitting))[:MOST]


def hosts(incomplete: str) -> list[str]:
    """Return the names of hosts in the inventory that begin with what was typed."""
    from orchestrator.hosts.inventory import Inventory
    from orchestrator.paths import orch_home

    try:
        return _offer([entry.name for entry in Inventory(orch_home()).list()], incomplete)
    except OrchError:
        # A message here would land in the middle of the line that is being typed.
        return []


def jobs(incomplete: str) -> list[str]:
    """Return names and ids of jobs last seen that begin with what was typed: newest first, ids only when asked for."""
    from orchestrator.paths import orch_home
    from orchestrator.store import Store

    try:
        with Store(orch_home() / "orch.db") as store:
            views = [view for _, view, _ in store.cached_views()]
    except OrchError:
        return []
    keys = ("id", "submission") if incomplete[1:2] == "-" else ("name", "job")
    words = [str(view.get(key, "")) for view in views for key in keys]
    return _offer(words, incomplete)


def hosts_and_jobs(incomplete: str) -> list[str]:
    """Return hosts first, then jobs."""
    return [*hosts(incomplete), *jobs(incomplete)]
