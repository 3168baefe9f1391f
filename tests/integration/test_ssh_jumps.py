"""Hosts behind jump hosts and programs: one login per bastion, what a lost or refusing hop does, ProxyCommand."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from orchestrator.errors import AuthenticationError, HostKeyError, UnreachableError
from orchestrator.remote.asker import Asker, SilentAsker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import Checker, KnownHosts
from orchestrator.remote.ssh import SshTransport, connect
from orchestrator.remote.ssh_config import Resolved
from orchestrator.remote.target import SshTarget
from tests.harness.hosts import VERBOSE, RealHost
from tests.harness.ssh_people import Person, make_keys
from tests.harness.waiting import wait_until


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with RealHost(tmp_path_factory.mktemp("bastion"), config=[VERBOSE]) as made:
        yield made


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with RealHost(tmp_path_factory.mktemp("inner"), config=["MaxStartups 100"]) as made:
        yield made


@pytest.fixture
def make(tmp_path: Path, bastion: RealHost, inner: RealHost) -> Iterator[Callable[..., Dialer]]:
    known = tmp_path / "known_hosts"
    known.write_text(bastion.known_line() + inner.known_line())
    bastion.proxy.reset_counts()
    made = []

    def dialer(asker: Asker | None = None) -> Dialer:
        made.append(Dialer(KnownHosts(known), asker or SilentAsker()))
        return made[-1]

    yield dialer
    for one in made:
        one.close()


def echo(transport: SshTransport) -> bytes:
    stream = transport.open_stream("echo it works")
    said = b""
    while piece := stream.recv(100):
        said += piece
    stream.close()
    return said


def behind(host: RealHost, *hops: RealHost) -> Resolved:
    return replace(host.resolved(), jumps=tuple(hop.resolved(f"hop{number}") for number, hop in enumerate(hops)))


def test_ten_hosts_behind_one_bastion_are_one_login_there(
    bastion: RealHost, inner: RealHost, make: Callable[..., Dialer]
) -> None:
    dialer, where = make(), behind(inner, bastion)
    with ThreadPoolExecutor(10) as pool:
        connections = list(pool.map(lambda number: dialer.connect(where, f"box{number}"), range(10)))
    assert bastion.proxy.connections == 1
    assert echo(SshTransport("box0", connections[0], where)) == b"it works\n"
    for connection in connections:
        connection.close()
    # The bastion is lost: the next connection brings it back.
    bastion.proxy.cut()
    transport = SshTransport("box", dialer.connect(where, "box"), where)
    assert echo(transport) == b"it works\n" and bastion.proxy.connections == 2
    transport.close()


def test_two_hops_by_ssh_config(
    bastion: RealHost, inner: RealHost, tmp_path: Path, make: Callable[..., Dialer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RealHost(tmp_path / "middle") as middle:
        home = tmp_path / "home"
        (home / ".ssh").mkdir(parents=True)
        places = {"outer": (bastion, "none"), "middle": (middle, "outer"), "box": (inner, "middle")}
        (home / ".ssh" / "config").write_text(
            "".join(
                f"Host {name}\n HostName 127.0.0.1\n Port {host.port}\n IdentityFile {host.key}\n ProxyJump {jump}\n"
                for name, (host, jump) in places.items()
            )
        )
        known = tmp_path / "known_hosts"
        known.write_text(known.read_text() + middle.known_line())
        # ~/.fabric.py is not a thing of ours: fabric would run it.
        (home / ".fabric.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
        monkeypatch.setenv("HOME", str(home))
        transport = connect("box", SshTarget("box"), make())
        assert [hop.alias for hop in transport.where.jumps] == ["outer", "middle"]
        assert echo(transport) == b"it works\n"
        transport.close()
        assert middle.proxy.connections == 1 and bastion.proxy.connections == 1
        assert not (tmp_path / "executed").exists()


def test_a_refusing_bastion_is_asked_once_for_all_behind_it(
    bastion: RealHost, inner: RealHost, tmp_path: Path, make: Callable[..., Dialer]
) -> None:
    hop = replace(bastion.resolved("gate"), identity_files=tuple(make_keys(tmp_path, 1)))
    dialer, where = make(), replace(inner.resolved(), jumps=(hop,))

    def refused(number: int) -> AuthenticationError:
        with pytest.raises(AuthenticationError) as caught:
            dialer.connect(where, f"box{number}")
        return caught.value

    with ThreadPoolExecutor(5) as pool:
        errors = list(pool.map(refused, range(5)))
    assert bastion.proxy.connections == 1
    assert "@gate (a jump host) refused the login" in errors[0].message
    assert "IdentityFile" in errors[0].hint and "orch host key" not in errors[0].hint


def test_an_untrusted_bastion_is_asked_about_once(
    bastion: RealHost, inner: RealHost, tmp_path: Path, make: Callable[..., Dialer]
) -> None:
    (tmp_path / "known_hosts").write_text(inner.known_line())
    person = Person(trusts=False)
    dialer, where = make(person), behind(inner, bastion)
    for number in range(3):
        with pytest.raises(HostKeyError, match="the jump host hop0"):
            dialer.connect(where, f"box{number}")
    assert person.asked == [f"trust [127.0.0.1]:{bastion.port}"]


def test_every_hop_has_our_policy_and_never_fabrics(
    bastion: RealHost, inner: RealHost, make: Callable[..., Dialer]
) -> None:
    dialer = make()
    connection = dialer.connect(behind(inner, bastion), "box")
    hops = [hop.connection for hop in dialer._hops.values()]
    assert len(hops) == 1
    for one in (connection, *hops):
        assert isinstance(one.client._policy, Checker)
        assert one.gateway is None, "fabric would make a client of its own for it"
        assert one.client.get_host_keys().keys() == []
    connection.close()


def test_a_bastion_that_forbids_forwarding(inner: RealHost, tmp_path: Path) -> None:
    with RealHost(tmp_path / "strict", config=["AllowTcpForwarding no"]) as strict:
        known = tmp_path / "known"
        known.write_text(strict.known_line() + inner.known_line())
        dialer = Dialer(KnownHosts(known), SilentAsker())
        with pytest.raises(UnreachableError, match="through the jump host hop0: it does not allow forwarding"):
            dialer.connect(behind(inner, strict), "box")
        dialer.close()


def test_nothing_listens_behind_the_bastion(bastion: RealHost, inner: RealHost, make: Callable[..., Dialer]) -> None:
    where = replace(behind(inner, bastion), port=1)
    with pytest.raises(UnreachableError, match=r"from there 127\.0\.0\.1:1 does not answer"):
        make().connect(where, "box")


CARRY = """
import os, socket, sys, threading
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 65536):
        sock.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
open(sys.argv[2], "w").write(str(os.getpid()))
while data := sock.recv(65536):
    os.write(1, data)
"""


def test_a_proxy_command(inner: RealHost, tmp_path: Path, make: Callable[..., Dialer]) -> None:
    (tmp_path / "carry.py").write_text(CARRY)
    command = f"{sys.executable} {tmp_path}/carry.py {inner.port} {tmp_path}/pid 2>/dev/null"
    where = replace(inner.resolved(), proxy_command=command)
    transport = SshTransport("box", make().connect(where, "box"), where)
    assert echo(transport) == b"it works\n"
    pid = Path("/proc", (tmp_path / "pid").read_text())
    transport.close()
    wait_until(lambda: not pid.exists(), 10, "the program ended and was waited for")


def test_a_proxy_command_that_ends_is_a_lost_line(inner: RealHost, tmp_path: Path, make: Callable[..., Dialer]) -> None:
    (tmp_path / "carry.py").write_text(CARRY)
    where = replace(inner.resolved(), proxy_command=f"{sys.executable} {tmp_path}/carry.py {inner.port} {tmp_path}/pid")
    transport = SshTransport("box", make().connect(where, "box"), where)
    inner.proxy.cut()
    wait_until(lambda: not transport.is_alive(), 5, "the loss noticed")
    transport.close()
    with pytest.raises(UnreachableError):
        make().connect(replace(where, proxy_command="exit 1"), "box")


def test_no_key_of_one_host_is_shown_to_another(tmp_path: Path) -> None:
    """Each host's own -i, also for a hop: what one machine sees is only its own."""
    with (
        RealHost(tmp_path / "one", config=[VERBOSE]) as one,
        RealHost(tmp_path / "two", config=[VERBOSE]) as two,
    ):
        known = tmp_path / "known"
        known.write_text(one.known_line() + two.known_line())
        dialer = Dialer(KnownHosts(known), SilentAsker())
        dialer.connect(behind(two, one), "two").close()
        dialer.connect(one.resolved(), "one").close()
        dialer.close()
        for host in (one, two):
            mine = paramiko.Ed25519Key.from_private_key_file(str(host.key)).fingerprint
            wait_until(lambda host=host: "Accepted publickey" in host.server.log(), 5)  # type: ignore[misc]
            seen = set(re.findall(r"publickey.*(SHA256:\S+)", host.server.log()))
            assert seen == {mine}
