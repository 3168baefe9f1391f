"""What can be done to a host's SSH side: trust its key, install ours, reach its ports."""

from __future__ import annotations

import contextlib
import shlex
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.api.core import Orch
from orchestrator.api.links import LOCAL
from orchestrator.errors import HostError, UnreachableError, UsageError
from orchestrator.hosts.inventory import HostEntry
from orchestrator.hosts.target import parse_ssh_line
from orchestrator.loopback import make_key
from orchestrator.remote.hostkeys import KnownHosts, fingerprint
from orchestrator.remote.ssh import pump, system_ssh_argv
from orchestrator.remote.ssh_config import Resolved, resolve

KEY = "id_ed25519"

# On one line, without quotes inside: any login shell passes it on. The key comes on stdin.
_INSTALL = (
    "exec sh -c 'umask 077; cd && mkdir -p .ssh && touch .ssh/authorized_keys && IFS= read -r k && IFS= && set -f && "
    "if grep -qxF -e $k .ssh/authorized_keys; then echo present; else echo >> .ssh/authorized_keys && "
    "echo $k >> .ssh/authorized_keys && echo installed; fi'"
)


@dataclass(frozen=True)
class KeyOffer:
    """A host key as shown now.

    Args:
        label: the name in known_hosts.
        known: it is trusted already.
        changed: another key is on record.
        jump: it is the key of a jump host; the host's own comes after it.
        accept: call it to trust the key from now on.
    """

    label: str
    key_type: str
    fingerprint: str
    known: bool
    changed: bool
    jump: bool
    accept: Callable[[], None]


def _needs_ssh(entry: HostEntry) -> None:
    if entry.ssh == LOCAL:
        raise UsageError(f"{entry.name} is this machine and has no SSH login")


def show_host_key(orch: Orch, entry: HostEntry) -> KeyOffer:
    """Return the key a host shows, without logging in; of a jump host before it, when that one is not trusted yet.

    Raises:
        UsageError: the host is this machine.
        UnreachableError: it does not answer.
    """
    _needs_ssh(entry)
    where = resolve(parse_ssh_line(entry.ssh))
    for number, hop in enumerate(where.jumps):
        offer = _offer(orch, replace(hop, jumps=where.jumps[:number]), entry.name, jump=True)
        if not offer.known:
            return offer
    return _offer(orch, where, entry.name)


def _offer(orch: Orch, where: Resolved, name: str, *, jump: bool = False) -> KeyOffer:
    key = orch.links.dialer.server_key(where, name)
    known = KnownHosts(orch.links.dialer.known.own, where.known_hosts)
    on_record = known.lookup(where.key_entry)
    return KeyOffer(
        label=where.key_entry,
        key_type=key.get_name(),
        fingerprint=fingerprint(key),
        known=any(one == key for one in on_record),
        changed=bool(on_record) and all(one != key for one in on_record),
        jump=jump,
        accept=lambda: known.add(where.key_entry, key, replace=True),
    )


def install_public_key(orch: Orch, entry: HostEntry) -> str:
    """Put a public key into the host's authorized_keys and use it from now on; returns a sentence for people.

    The key is orch's own under ORCH_HOME/keys; the host's line in the inventory gets `-i` for it.
    """
    _needs_ssh(entry)
    path = orch.home / "keys" / KEY
    public = make_key(path)
    transport = orch.links.transport(entry)
    try:
        stream = transport.open_stream(_INSTALL)
        stream.send(public.encode() + b"\n")
        said = b""
        while piece := stream.recv(4096):
            said += piece
        tail = stream.stderr_tail().decode(errors="replace").strip()
        stream.close()
    finally:
        transport.close()
    if not said.strip().endswith((b"present", b"installed")):
        raise HostError(f"{entry.name} did not take the key", tail or "Its shell said nothing.", host=entry.name)
    option = f"-i {shlex.quote(str(path))}"
    if option not in entry.ssh:
        head, _, rest = entry.ssh.partition(" ")
        line = f"ssh {option} {rest}" if head == "ssh" and rest else f"ssh {option} {entry.ssh}"
        orch.inventory.put(HostEntry(entry.name, line, entry.profile, entry.tags, entry.root, entry.python))
    return f"the key {path} opens {entry.name} now"


def ssh_argv(orch: Orch, entry: HostEntry) -> list[str]:
    """Return the argv of the system's ssh for a host."""
    _needs_ssh(entry)
    return system_ssh_argv(entry.name, parse_ssh_line(entry.ssh), orch.home)


class Forward:
    """A local port that leads to a port of the host; a context manager.

    Args:
        here: local port, 0 = any free one.
        there: port as the host's own loopback sees it.
    """

    def __init__(self, orch: Orch, entry: HostEntry, here: int, there: int) -> None:
        _needs_ssh(entry)
        self._there = there
        self._transport = orch.links.transport(entry)
        self._listener = socket.socket()
        try:
            self._listener.bind(("127.0.0.1", here))
            self._listener.listen(16)
        except OSError as error:
            self._transport.close()
            self._listener.close()
            raise UsageError(
                f"port {here} here cannot be used: {error.strerror}", "Choose another: PORT:REMOTE."
            ) from None
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        self._transport.close()

    def serve(self) -> None:
        """Carry connections until interrupted or the host is lost.

        Raises:
            UnreachableError: the connection to the host ended.
        """
        self._listener.settimeout(0.5)
        while self._transport.is_alive():
            with contextlib.suppress(TimeoutError):
                sock, _ = self._listener.accept()
                sock.settimeout(None)
                threading.Thread(target=self._carry, args=(sock,), daemon=True, name="forward").start()
        raise UnreachableError(f"the connection to {self._transport.name} was lost", host=self._transport.name)

    def _carry(self, sock: socket.socket) -> None:
        try:
            channel = self._transport.open_tcp("127.0.0.1", self._there)
        except UnreachableError:
            sock.close()
            return
        pump(channel, sock)
