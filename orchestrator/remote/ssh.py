"""The SSH transport: one authenticated connection, commands with pipes attached, tunnels."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import paramiko
from fabric import Connection
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.message import Message

from orchestrator.errors import UnreachableError
from orchestrator.remote.asker import Asker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import FILE_NAME, KnownHosts
from orchestrator.remote.ssh_config import Resolved, resolve
from orchestrator.remote.streams import STDERR_KEPT, ByteStream, ChannelRefused
from orchestrator.remote.target import SshTarget

CHANNEL_SECONDS = 20.0
SLICE = 32 * 1024


class SshStream:
    """One command's pipes over an SSH channel (see ByteStream)."""

    def __init__(self, channel: paramiko.Channel, host: str) -> None:
        self._channel = channel
        self._host = host
        self._tail = bytearray()
        self._reader = threading.Thread(target=self._drain, daemon=True, name=f"stderr-{host}")
        self._reader.start()

    def send(self, data: bytes | memoryview) -> None:
        """See ByteStream. In slices of a memoryview: sendall of one large bytes object copies its rest each time."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._channel.send(view[:SLICE]) :]  # type: ignore[arg-type]
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise UnreachableError(f"the connection to {self._host} was lost", host=self._host) from error

    def recv(self, n: int) -> bytes:
        """See ByteStream."""
        try:
            return self._channel.recv(n)
        except (OSError, EOFError, paramiko.SSHException):
            return b""

    def close(self) -> None:
        """See ByteStream."""
        self._channel.close()
        if threading.current_thread() is not self._reader:
            self._reader.join(1.0)

    def stderr_tail(self) -> bytes:
        """See ByteStream."""
        return bytes(self._tail)

    def exit_status(self) -> int | None:
        """See ByteStream; paramiko says -1 for "unknown"."""
        if not self._channel.exit_status_ready():
            return None
        status = self._channel.recv_exit_status()
        return None if status < 0 else status

    def _drain(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(4096)
            except (OSError, EOFError, paramiko.SSHException):
                return
            if not data:
                return
            self._tail += data
            del self._tail[:-STDERR_KEPT]


class SshTransport:
    """An authenticated connection (see Transport).

    Args:
        name: the host's name in the inventory.
        connection: made by the Dialer.
        where: the login.
    """

    def __init__(self, name: str, connection: Connection, where: Resolved) -> None:
        self.name = name
        self.where = where
        self._connection = connection

    def open_stream(self, command: str) -> ByteStream:
        """See Transport. The exec is written without waiting for its reply: one round trip less."""
        try:
            channel = self._transport.open_session(timeout=CHANNEL_SECONDS)
            request = Message()
            request.add_byte(cMSG_CHANNEL_REQUEST)
            request.add_int(channel.remote_chanid)
            request.add_string("exec")
            request.add_boolean(False)
            request.add_string(command)
            self._transport._send_user_message(request)  # type: ignore[attr-defined]  # missing in the stubs
        except paramiko.ChannelException as error:
            raise ChannelRefused(f"{self.name} takes no further channel (MaxSessions)", host=self.name) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise UnreachableError(f"the connection to {self.name} was lost ({error})", host=self.name) from error
        return SshStream(channel, self.name)

    def open_tcp(self, host: str, port: int) -> paramiko.Channel:
        """Open a tunnel to an address as the host sees it.

        Raises:
            UnreachableError: nothing listens there, or the host forbids forwarding.
        """
        try:
            return self._transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=CHANNEL_SECONDS)
        except paramiko.ChannelException as error:
            why = "forbids forwarding" if error.code == 1 else f"has nothing listening at {host}:{port}"
            raise UnreachableError(f"{self.name} {why}", host=self.name) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise UnreachableError(f"the connection to {self.name} was lost ({error})", host=self.name) from error

    @property
    def _transport(self) -> paramiko.Transport:
        transport: paramiko.Transport | None = self._connection.transport
        if transport is None:
            raise UnreachableError(f"the connection to {self.name} was closed", host=self.name)
        return transport

    def is_alive(self) -> bool:
        """Whether the connection stands, as far as is known."""
        transport = self._connection.transport
        return transport is not None and bool(transport.is_active())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def known_hosts(home: Path) -> KnownHosts:
    """Return orch's own file of known hosts under ORCH_HOME."""
    return KnownHosts(home / FILE_NAME)


def dialer(home: Path, asker: Asker) -> Dialer:
    """Return what makes connections; one per program run, so that jump hosts and answers are shared."""
    return Dialer(known_hosts(home), asker)


def connect(name: str, target: SshTarget, dial: Dialer) -> SshTransport:
    """Return an open transport to a login as the person typed it.

    Raises:
        UsageError: ssh_config or the login line is wrong.
        HostError: see Dialer.connect.
    """
    where = resolve(target)
    return SshTransport(name, dial.connect(where, name), where)


def system_ssh_argv(name: str, target: SshTarget, home: Path) -> list[str]:
    """Return the argv of the system's ssh for the same login, with orch's known hosts first.

    Args:
        home: ORCH_HOME.
    """
    where = resolve(target)
    files = " ".join(f'"{path}"' for path in (home / FILE_NAME, *where.known_hosts))
    argv = ["ssh", "-o", f"UserKnownHostsFile={files}"]
    key = home / "keys" / "id_ed25519"
    if key.exists():
        argv += ["-i", str(key)]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    for path in target.identity_files:
        argv += ["-i", str(Path(path).expanduser())]
    if target.jump:
        argv += ["-J", target.jump]
    for option, value in target.options:
        argv += ["-o", f"{option}={value}"]
    return [*argv, "--", f"{where.user}@{target.host}"]


def pump(channel: Any, sock: socket.socket) -> None:
    """Carry bytes both ways between a tunnel and a local connection until one side ends."""

    def one_way(read: Any, write: Any) -> None:
        try:
            while data := read(SLICE):
                write(data)
        except (OSError, EOFError, paramiko.SSHException):
            pass
        finally:
            channel.close()
            sock.close()

    back = threading.Thread(target=one_way, args=(channel.recv, sock.sendall), daemon=True, name="forward")
    back.start()
    one_way(sock.recv, channel.sendall)
    back.join(1.0)
