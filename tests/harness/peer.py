"""A peer of the protocol, driven step by step by a test: the other end of a channel without an agent."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType

from orchestrator.errors import UnreachableError
from orchestrator.remote.rpc import Rpc
from remote_payload.agent.wire.protocol import Decoder, Frame, encode


class SocketStream:
    """A ByteStream over a connected socket."""

    def __init__(self, sock: socket.socket, errors: bytes = b"") -> None:
        self.sock = sock
        self.errors = errors
        self.closed = False

    def send(self, data: bytes | memoryview) -> None:
        """See ByteStream."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise UnreachableError(str(error)) from error

    def recv(self, n: int) -> bytes:
        """See ByteStream."""
        try:
            return self.sock.recv(n)
        except OSError:
            return b""

    def close(self) -> None:
        """See ByteStream."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.closed = True

    def stderr_tail(self) -> bytes:
        """See ByteStream."""
        return self.errors

    def exit_status(self) -> int | None:
        """See ByteStream."""
        return None


class Peer:
    """An Rpc and its far end in the test's hands. A context manager.

    Args:
        ping_interval: seconds, of the Rpc.
    """

    def __init__(self, ping_interval: float = 60.0) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(10)
        self.stream = SocketStream(near)
        self.rpc = Rpc(self.stream, "gpu1", ping_interval=ping_interval)
        self.rpc.begin()
        self._decoder = Decoder()
        self._frames: list[Frame] = []

    def take(self) -> Frame:
        """Return the next frame the controller sent."""
        while not self._frames:
            data = self.far.recv(65536)
            if not data:
                raise EOFError
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def give(self, body: bytes = b"", **header: object) -> None:
        """Send one frame to the controller."""
        self.far.sendall(encode(header, body))

    def close(self) -> None:
        """Close both ends."""
        self.rpc.close()
        self.far.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
