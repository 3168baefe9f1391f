"""What the groups of methods of a link have in common."""

from __future__ import annotations

import json
import zlib
from typing import Any

from orchestrator.errors import AgentError
from orchestrator.remote.rpc import Rpc
from remote_payload.agent.wire.protocol import Frame

MAX_UNPACKED = 512 * 1024 * 1024
"""Largest list that is unpacked, in bytes."""


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


def number(frame: Frame, key: str, host: str) -> int:
    """Return a count or offset of a stream's frame.

    Raises:
        AgentError: it is missing, negative or no integer.
    """
    value = frame.header.get(key)
    if type(value) is not int or value < 0:
        raise AgentError(f"{host} sent a piece without {key!r}", host=host, code="internal")
    return value


def unpacked(body: bytes, host: str, what: str) -> dict[str, Any]:
    """Return the object that a zlib'd JSON body holds.

    Raises:
        AgentError: it is damaged, no object, or larger than MAX_UNPACKED.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(body, MAX_UNPACKED)
        said = json.loads(text) if unpacker.eof else None
    except (zlib.error, ValueError) as error:
        raise AgentError(f"{host} sent a broken list of {what}", host=host, code="internal") from error
    if not isinstance(said, dict):
        raise AgentError(f"{host} sent a broken list of {what}", host=host, code="internal")
    return said
