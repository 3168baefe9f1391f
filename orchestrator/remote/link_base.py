"""What the groups of methods of a link have in common."""

from __future__ import annotations

from typing import Any

from orchestrator.remote.rpc import Rpc


class LinkBase:
    """A name and two channels; see AgentLink."""

    name: str
    profile: dict[str, Any]

    @property
    def rpc(self) -> Rpc:
        """The channel for everything small."""
        raise NotImplementedError

    def bulk(self) -> Rpc:
        """The channel for packs and files."""
        raise NotImplementedError


def given(**args: Any) -> dict[str, Any]:
    """Return the arguments that are not None: an absent one means the agent's default."""
    return {name: value for name, value in args.items() if value is not None}
