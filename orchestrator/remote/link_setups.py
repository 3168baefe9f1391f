"""A link's methods that make a host ready for jobs without queueing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from orchestrator.remote.link_base import LinkBase
from orchestrator.remote.link_jobs import ENQUEUE_TIMEOUT
from orchestrator.remote.link_types import Preparing
from orchestrator.remote.streaming import Stream


class SetupRun:
    """A setup on the host; iterate for its log, then look at how it ended. It goes on when nobody looks."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with self._stream as stream:
            for frame in stream:
                yield frame.body

    @property
    def ready(self) -> bool:
        """Whether the environment is there."""
        return self._stream.result.get("ready") is True

    @property
    def detail(self) -> str:
        """Why it is not, in the setup's own last words."""
        return str(self._stream.result.get("detail") or "")


class SetupMethods(LinkBase):
    """Each method may raise AgentError and UnreachableError."""

    def prepare(self, body: bytes) -> Preparing:
        """Store code and begin the setups that are not done; nothing is queued.

        Args:
            body: as of enqueue.
        """
        return cast(Preparing, self.rpc.call("prepare", body, ENQUEUE_TIMEOUT).result)

    def setup_log(self, digest: str) -> SetupRun:
        """Follow a setup that was begun, from the beginning of its log until it is over."""
        return SetupRun(self.rpc.stream("setup_log", digest=digest))
