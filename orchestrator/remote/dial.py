"""From a resolved login to an authenticated fabric Connection, over hops; what fabric leaves unsafe is replaced."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import paramiko
from fabric import Config, Connection
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from orchestrator.errors import AuthenticationError, HostError, HostKeyError, UnreachableError
from orchestrator.remote.asker import Asker
from orchestrator.remote.auth import Login, Memory
from orchestrator.remote.hostkeys import Checker, KnownHosts
from orchestrator.remote.proxycommand import run_proxy_command
from orchestrator.remote.ssh_config import Resolved

KEEPALIVE = 30
TRIES = 5
RETRY_SECONDS = 12.0
HANDSHAKE_SECONDS = 15.0
AT_ONCE = 4
"""Handshakes under way to one address: sshd's MaxStartups drops what is above 10 at random."""
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
TCP_QUICKACK = 12
FORBIDDEN = 1
"""RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED."""


class _QuickSocket(socket.socket):
    """A socket whose answers are not held back: Linux delays ACKs again after each read unless told not to."""

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        with suppress(OSError):
            self.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
        return data


class _Transport(paramiko.Transport):
    """A transport that leaves nothing running when its handshake fails.

    paramiko 5.1 bounds a handshake with a timer that only a completed one cancels, and the interpreter waits for it.
    """

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.packetizer.complete_handshake()


@dataclass
class _Hop:
    """A jump host: its connection, or why it let nobody in."""

    connection: Connection | None = None
    refusal: HostError | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Dialer:
    """Makes connections; shares jump hosts and answers among them.

    Args:
        known: orch's own file of known hosts; the user's are added per login.
        asker: asked for trust, passwords, passphrases.
    """

    known: KnownHosts
    asker: Asker
    memory: Memory = field(default_factory=Memory)
    _hops: dict[tuple[str, ...], _Hop] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _gates: dict[tuple[str, int], threading.Semaphore] = field(default_factory=dict)

    def connect(self, where: Resolved, name: str) -> Connection:
        """Return an open connection to the login.

        Raises:
            HostKeyError, AuthenticationError: never tried again.
            UnreachableError: no answer after some tries.
        """
        retrying = Retrying(
            stop=stop_after_attempt(TRIES) | stop_after_delay(RETRY_SECONDS),
            wait=wait_random_exponential(multiplier=0.25, max=3),
            retry=retry_if_exception(_worth_another_try),
            reraise=True,
        )
        return retrying(self._once, where, name)

    def server_key(self, where: Resolved, name: str) -> paramiko.PKey:
        """Return the key a host shows, without logging in there (its hops are logged in to)."""
        checker = Checker(where, KnownHosts(self.known.own, where.known_hosts), self.asker, name)
        # Asked for the kind on record: another kind of key could not be compared with it.
        transport = _factory(checker.preferred_types())(self._socket(where, name))
        try:
            transport.start_client(timeout=HANDSHAKE_SECONDS)
            return transport.get_remote_server_key()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _unreachable(where, name, error) from error
        finally:
            transport.close()

    def _once(self, where: Resolved, name: str, *, jump: bool = False) -> Connection:
        known = KnownHosts(self.known.own, where.known_hosts)
        checker = Checker(where, known, self.asker, name, jump=jump)
        with self._gate(where):
            sock = self._socket(where, name)
            connection = Connection(
                host=where.key_entry if where.key_name else where.host,
                user=where.user,
                port=where.port,
                # Lazy and without ssh_config: fabric would run ~/.fabric.py and parse the config its own way.
                config=Config(lazy=True, overrides={"load_ssh_configs": False}),
                connect_timeout=where.connect_timeout,
                connect_kwargs={
                    "sock": sock,
                    "allow_agent": False,
                    "look_for_keys": False,
                    "auth_strategy": Login(where, where.alias if jump else name, self.asker, self.memory, jump=jump),
                    "banner_timeout": HANDSHAKE_SECONDS,
                    "auth_timeout": 30.0,
                    "transport_factory": _factory(checker.preferred_types()),
                },
            )
            # fabric sets AutoAddPolicy on every client it makes, gateways included: here each hop is ours.
            connection.client.set_missing_host_key_policy(checker)
            try:
                connection.open()
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise _unreachable(where, name, error) from error
            finally:
                if not connection.is_connected or not connection.transport.is_authenticated():
                    # fabric's own close leaves a connection alone that was never open, and its socket with it.
                    connection.client.close()
                    sock.close()
        connection.transport.set_keepalive(KEEPALIVE)
        return connection

    def _gate(self, where: Resolved) -> threading.Semaphore:
        with self._guard:
            return self._gates.setdefault((where.host, where.port), threading.Semaphore(AT_ONCE))

    def _socket(self, where: Resolved, name: str) -> Any:
        if where.jumps:
            return self._through(where, name)
        if where.proxy_command:
            try:
                return run_proxy_command(where.proxy_command)
            except OSError as error:
                raise HostError(f"{name}: the ProxyCommand cannot be started: {error}", host=name) from error
        return _dial(where, name)

    def _through(self, where: Resolved, name: str) -> paramiko.Channel:
        hop = where.jumps[-1]
        gateway = self._hop(where.jumps, name)
        try:
            transport: paramiko.Transport = gateway.transport
            return transport.open_channel("direct-tcpip", (where.host, where.port), ("", 0), timeout=HANDSHAKE_SECONDS)
        except paramiko.ChannelException as error:
            why = (
                "it does not allow forwarding"
                if error.code == FORBIDDEN
                else f"from there {where.host}:{where.port} does not answer"
            )
            raise UnreachableError(f"{name}: through the jump host {hop.alias}: {why}", host=name) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise UnreachableError(f"{name}: the jump host {hop.alias} was lost ({error})", host=name) from error

    def _hop(self, jumps: tuple[Resolved, ...], name: str) -> Connection:
        """The shared connection to the last hop: one login per bastion, however many hosts are behind it."""
        key = tuple(f"{hop.user}@{hop.host}:{hop.port}" for hop in jumps)
        with self._guard:
            hop = self._hops.setdefault(key, _Hop())
        with hop.lock:
            if hop.refusal is not None:
                # Not tried again for each host behind it: a bastion bans who is refused too often.
                raise hop.refusal
            if hop.connection is None or not hop.connection.transport or not hop.connection.transport.is_active():
                # The way to it is the one asked for, as with `ssh -J`, not what ssh_config says of that hop.
                where = replace(jumps[-1], jumps=jumps[:-1])
                try:
                    hop.connection = self._once(where, name, jump=True)
                except (HostKeyError, AuthenticationError) as refusal:
                    hop.refusal = refusal
                    raise
            return hop.connection

    def close(self) -> None:
        """Close the jump hosts, the innermost first."""
        with self._guard:
            hops = sorted(self._hops.items(), key=lambda item: -len(item[0]))
            self._hops.clear()
        for _, hop in hops:
            if hop.connection is not None:
                hop.connection.close()


def _dial(where: Resolved, name: str) -> socket.socket:
    try:
        sock = socket.create_connection((where.host, where.port), where.connect_timeout)
    except socket.gaierror as error:
        raise HostError(
            f"{name}: there is no host {where.host!r}", "Check the name, or your DNS.", host=name
        ) from error
    except OSError as error:
        raise _unreachable(where, name, error) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        timeout = sock.gettimeout()
        sock = _QuickSocket(fileno=sock.detach())
        sock.settimeout(timeout)
    return sock


def _factory(preferred: list[str]) -> Callable[..., paramiko.Transport]:
    def make(sock: Any, **options: Any) -> paramiko.Transport:
        transport = _Transport(sock, **options)
        security = transport.get_security_options()
        fast = [cipher for cipher in CIPHERS if cipher in security.ciphers]
        security.ciphers = tuple(fast + [cipher for cipher in security.ciphers if cipher not in fast])
        mine = [kind for kind in security.key_types if _same_family(kind, preferred)]
        security.key_types = tuple(mine + [kind for kind in security.key_types if kind not in mine])
        return transport

    return make


def _same_family(kind: str, preferred: list[str]) -> bool:
    return any(kind == one or (one == "ssh-rsa" and kind.startswith("rsa-sha2")) for one in preferred)


def _unreachable(where: Resolved, name: str, error: BaseException) -> UnreachableError:
    text = str(error) or type(error).__name__
    if isinstance(error, socket.timeout):
        text = f"no answer in {where.connect_timeout:g} s"
    elif isinstance(error, ConnectionRefusedError):
        text = "nothing listens there (is the machine on?)"
    elif "banner" in text:
        text = "it answers, but not as an SSH server"
    hint = "Its jobs go on all the same. Is the machine on? Rented ones may have a new address or port."
    return UnreachableError(f"{name}: {where.host}:{where.port}: {text}", hint, host=name)


def _worth_another_try(error: BaseException) -> bool:
    # A silent address costs a whole timeout each time, and what is forbidden stays so; a refused connection or a torn
    # handshake costs nothing to try again.
    cause = error.__cause__
    forbidden = isinstance(cause, paramiko.ChannelException) and cause.code == FORBIDDEN
    return isinstance(error, UnreachableError) and not isinstance(cause, socket.timeout) and not forbidden
