"""A host's queue as a whole: paused or not, whose it is, and queues of other hosts that lie in its home."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.api.core import Orch
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.link_types import OtherSpool, Paused, Status


@dataclass(frozen=True)
class QueueState:
    """What keeps a host's queue from going on, and what was left behind beside it.

    Args:
        paused: since when and by whom, None when it is not.
        owner: id of the host that the queue belongs to, None when that is this host.
        others: queues of hosts unknown here in this host's home that have jobs which did not end.
        broken: a sentence for each stored submission that cannot be used.
    """

    paused: Paused | None = None
    owner: str | None = None
    others: tuple[OtherSpool, ...] = ()
    broken: tuple[str, ...] = ()


def by_whom(orch: Orch) -> str:
    """Return who asks, as hosts note it down."""
    return f"{orch.owner}@{socket.gethostname()}"


def queue_state(orch: Orch, link: AgentLink, status: Status | None = None) -> QueueState:
    """Return how a host's queue stands.

    Args:
        status: what it just said; without it, only what it said when the link was opened.
    """
    if status is not None:
        owner = status["owner"] if status["owner"] != status["host_id"] else None
    else:
        owner = link.opened["owner"] if link.opened["moved"] else None
    others = tuple(
        each
        for each in link.opened["others"]
        if each["jobs_live"] and each["host_id"] != owner and each["host_id"] not in _known(orch)
    )
    broken = tuple(status.get("broken", {}).values()) if status else ()
    return QueueState(status["paused"] if status else None, owner, others, broken)


def _known(orch: Orch) -> set[str | None]:
    """Return the ids of the hosts of the inventory: servers that share a home are no news."""
    seen = [orch.store.host_seen(entry.name) for entry in orch.inventory.list()]
    return {host.host_id for host in seen if host is not None}


def troubles(name: str, state: QueueState) -> list[tuple[str, str]]:
    """Return a sentence and what helps for each thing to know of a host's queue. Pure."""
    found = []
    if state.owner is not None:
        whose = f"the queue there belongs to another host ({state.owner or 'unknown'}) and rests."
        found.append((whose, f"It came with a copied disk, or the folder is shared: orch host adopt {name}"))
    if state.paused is not None:
        who = f" by {state.paused['by']}" if state.paused.get("by") else ""
        found.append((f"paused{who}: nothing new starts there.", f"orch host resume {name}"))
    for sentence in state.broken:
        found.append(
            (f"{sentence}.", "Its jobs are left alone and everything else goes on; put the file right, or away.")
        )
    for other in state.others:
        jobs = f"{other['jobs_live']} unfinished job{'' if other['jobs_live'] == 1 else 's'}"
        text = f"a queue of another host ({other['host_id']}) with {jobs} lies there, at {other['root']}."
        found.append((text, f"If that host is gone: orch host adopt {name} --from {other['host_id']}"))
    return found


def pause(orch: Orch, names: Sequence[str], on: bool) -> dict[str, bool]:
    """Let nothing new start on a host, or let it go on; return {host: paused now}.

    Raises:
        HostError: a host cannot be reached, or refuses.
    """
    return {name: orch.link(name).pause(on, by_whom(orch)) for name in names}


def adopt(orch: Orch, name: str, host_id: str | None) -> str:
    """Make another host's queue this host's own; return its folder.

    Raises:
        HostError: the host cannot be reached, or refuses.
    """
    link = orch.link(name)
    said = link.adopt(host_id, by_whom(orch))
    orch.store.note_host(name, host_id=said["host_id"], facts={"root": said["root"]})
    return said["root"]
