"""This computer as a host: the same command line run by sh, the same agent, no SSH in between."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Mapping

from orchestrator.errors import HostError, UnreachableError
from orchestrator.remote.streams import STDERR_KEPT, ByteStream

SHELL = "/bin/sh"
_END_WAIT = 1.0
"""Seconds a command has to end by itself once its stdin is closed, and again after SIGTERM."""


class LocalStream:
    """One command's stdin and stdout, as sshd attaches them: a socket pair, so that `close` wakes a waiting reader.

    Args:
        command: shell text.
        env: the command's whole environment; None takes this process's.
        host: name for messages.
    """

    def __init__(self, command: str, env: Mapping[str, str] | None = None, host: str = "local") -> None:
        self._host = host
        self._tail = bytearray()
        self._guard = threading.Lock()
        self._closed = False
        self._pipe, far = socket.socketpair()
        self._errors, far_errors = socket.socketpair()
        try:
            with far, far_errors:
                # The shell is named by its path and gets one argument, as from sshd; a session of its own so that
                # Ctrl-C in the terminal reaches only the controller.
                self._process = subprocess.Popen(
                    [SHELL, "-c", command],
                    stdin=far.fileno(),
                    stdout=far.fileno(),
                    stderr=far_errors.fileno(),
                    env=dict(env) if env is not None else None,
                    start_new_session=True,
                )
        except BaseException:
            self._pipe.close()
            self._errors.close()
            raise
        self._stderr_reader = threading.Thread(target=self._read_stderr, daemon=True, name=f"stderr-{host}")
        self._stderr_reader.start()

    def send(self, data: bytes | memoryview) -> None:
        """See ByteStream."""
        try:
            self._pipe.sendall(data)
        except OSError as error:
            raise UnreachableError(f"the agent on {self._host} is gone", host=self._host) from error

    def recv(self, n: int) -> bytes:
        """See ByteStream."""
        try:
            return self._pipe.recv(n)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the pipes, wait for the command and, when it stays for a second, end it."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        for end in (self._pipe, self._errors):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._reap()
        self._stderr_reader.join(_END_WAIT)
        self._pipe.close()
        self._errors.close()

    def _reap(self) -> None:
        for end in (self._process.terminate, self._process.kill, None):
            try:
                self._process.wait(_END_WAIT)
                return
            except subprocess.TimeoutExpired:
                if end:
                    end()

    def stderr_tail(self) -> bytes:
        """See ByteStream."""
        return bytes(self._tail)

    def exit_status(self) -> int | None:
        """See ByteStream."""
        return self._process.poll()

    def _read_stderr(self) -> None:
        while True:
            try:
                data = self._errors.recv(4096)
            except OSError:
                return
            if not data:
                return
            self._tail += data
            del self._tail[:-STDERR_KEPT]


class LocalTransport:
    """A `Transport` whose host is this computer.

    Args:
        name: the host's name for messages.
        env: the login environment of the commands; None takes this process's own.
    """

    def __init__(self, name: str = "local", env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._env = dict(env) if env is not None else None
        self._streams: list[LocalStream] = []
        self._guard = threading.Lock()
        self._closed = False

    def open_stream(self, command: str) -> ByteStream:
        """See Transport.

        Raises:
            UnreachableError: the transport was closed.
            HostError: this system has no POSIX shell.
        """
        with self._guard:
            if self._closed:
                raise UnreachableError(f"the connection to {self.name} is closed", host=self.name)
            try:
                stream = LocalStream(command, self._env, self.name)
            except OSError as error:
                raise HostError(
                    f"this computer cannot be a host: {error}", "It needs /bin/sh (on Windows: WSL2).", host=self.name
                ) from error
            self._streams.append(stream)
            return stream

    def is_alive(self) -> bool:
        """Whether `close` was not called yet."""
        return not self._closed

    def close(self) -> None:
        """End all commands that were started here."""
        with self._guard:
            self._closed = True
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()


def plain_environment(home: str) -> dict[str, str]:
    """Return the bare environment sshd gives a command, for a HOME of one's own (tests, demo)."""
    kept = {name: os.environ[name] for name in ("USER", "LOGNAME", "SHELL") if name in os.environ}
    return {**kept, "HOME": home, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
