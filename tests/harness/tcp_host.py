"""A host behind a bare TCP port: what passes through a proxy there is the protocol itself, with nothing around it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Mapping
from types import TracebackType

from orchestrator.errors import UnreachableError
from orchestrator.remote.streams import ByteStream, ChannelRefused
from tests.harness.peer import SocketStream


class TcpHost:
    """Runs the first line of every connection by sh, with the connection as stdin and stdout. A context manager.

    Args:
        env: the commands' environment.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True, name="tcp-host")
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), sock:
                line = b""
                while not line.endswith(b"\n"):
                    line += sock.recv(1)
                command = line.decode().rstrip("\n")
                self._processes.append(
                    subprocess.Popen(
                        ["/bin/sh", "-c", command],
                        stdin=sock.fileno(),
                        stdout=sock.fileno(),
                        stderr=subprocess.DEVNULL,
                        env=self._env,
                        start_new_session=True,
                    )
                )

    def close(self) -> None:
        """Take no more connections; wait for the commands to end."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for process in self._processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
                raise

    def __enter__(self) -> TcpHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TcpTransport:
    """A Transport to a TcpHost, usually through a proxy; each stream is a connection.

    Args:
        port: where to connect.
        most: streams it allows at once, like sshd's MaxSessions.
    """

    name = "gpu1"

    def __init__(self, port: int, most: int = 10) -> None:
        self._port = port
        self._most = most
        self._streams: list[SocketStream] = []

    def open_stream(self, command: str) -> ByteStream:
        """See Transport."""
        if len([stream for stream in self._streams if not stream.closed]) >= self._most:
            raise ChannelRefused("no more channels", host=self.name)
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), timeout=5)
        except OSError as error:
            raise UnreachableError(str(error), host=self.name) from error
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = SocketStream(sock)
        self._streams.append(stream)
        stream.send(command.encode() + b"\n")
        return stream

    def is_alive(self) -> bool:
        """See Transport."""
        return True

    def close(self) -> None:
        """See Transport."""
        for stream in self._streams:
            stream.close()
