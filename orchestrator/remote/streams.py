"""What the channel needs of a transport: one connection to one host, on which commands run with pipes attached."""

from __future__ import annotations

from typing import Protocol

from orchestrator.errors import HostError

STDERR_KEPT = 32 * 1024
"""Bytes of a command's stderr that a stream keeps (its end); shown only when something failed."""


class ChannelRefused(HostError):
    """The host takes no further channel on this connection (sshd's MaxSessions); the connection itself goes on."""


class ByteStream(Protocol):
    """stdin and stdout of one running command.

    One thread may send while another one receives. After `close` both return or raise at once, also in a thread that
    is waiting in them.
    """

    def send(self, data: bytes | memoryview) -> None:
        """Write all of `data` to the command's stdin; waits while the other end takes nothing.

        Raises:
            UnreachableError: the connection was lost or the command is gone.
        """
        ...

    def recv(self, n: int) -> bytes:
        """Return between 1 and `n` bytes of the command's stdout as soon as there are some; b"" at its end.

        A lost connection is an end too: who needs to tell them apart asks `Transport.is_alive`.
        """
        ...

    def close(self) -> None:
        """Close stdin and stdout and free what the stream holds; may be called twice and from any thread."""
        ...

    def stderr_tail(self) -> bytes:
        """Return the last bytes (at most STDERR_KEPT) the command wrote to stderr so far."""
        ...

    def exit_status(self) -> int | None:
        """Return the command's exit status, None while it is unknown (it runs, or the connection was lost)."""
        ...


class Transport(Protocol):
    """One authenticated connection to one host (or this computer itself)."""

    name: str

    def open_stream(self, command: str) -> ByteStream:
        """Have the login shell run `command` and return its pipes without waiting for it to start.

        Raises:
            ChannelRefused: the host takes no further channel.
            UnreachableError: the connection is gone.
        """
        ...

    def is_alive(self) -> bool:
        """Whether the connection still stands, as far as this end knows."""
        ...

    def close(self) -> None:
        """End the connection with all its streams; may be called twice."""
        ...
