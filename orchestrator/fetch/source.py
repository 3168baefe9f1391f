"""What a pull needs of a host: the link's methods, and nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from remote_payload.agent.wire.messages import OutputList


class Piece(Protocol):
    """Part of a file: `n` counts the files asked for, `offset` is in bytes."""

    @property
    def n(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class LogBytes(Protocol):
    """Part of an attempt's log; `end` is not None where the attempt ends."""

    @property
    def attempt(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def end(self) -> Any: ...


class ResultSource(Protocol):
    """A host that holds results; AgentLink is one. What it says is hostile until checked."""

    @property
    def name(self) -> str: ...

    def outputs(self, job: str) -> OutputList:
        """List a job's result files with their digests."""
        ...

    def read_files(self, job: str, files: Sequence[tuple[str, str, int]]) -> Iterator[Piece]:
        """Yield the bytes of (root, path, offset) each, file after file."""
        ...

    def follow(self, job: str, attempt: int = 0, offset: int = 0) -> Iterator[LogBytes]:
        """Yield an attempt's log from an offset on."""
        ...

    def pulled(self, job: str, attempt: int, to: str) -> None:
        """Record that the results came home."""
        ...
