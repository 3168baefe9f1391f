"""Logging in with keys against a real sshd: agents, IdentitiesOnly, passphrases, certificates."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import AuthenticationError
from orchestrator.loopback import make_key
from orchestrator.remote.asker import Asker, SilentAsker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import KnownHosts
from orchestrator.remote.ssh_config import Resolved
from tests.harness.hosts import VERBOSE, RealHost
from tests.harness.ssh_people import Person, SshAgent, lock_key, make_keys, sign_key
from tests.harness.waiting import wait_until


class Door:
    """One host and the log of who knocked."""

    def __init__(self, host: RealHost, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.known = folder / "known_hosts"
        self.known.write_text(host.known_line())
        self._read = len(host.server.log())
        host.proxy.reset_counts()

    def where(self, *keys: Path, **changes: object) -> Resolved:
        return replace(self.host.resolved(), **{"identity_files": keys, "identities_only": False, **changes})  # type: ignore[arg-type]

    def open(self, where: Resolved, asker: Asker | None = None) -> None:
        """Log in and leave again."""
        dialer = Dialer(KnownHosts(self.known), asker or SilentAsker())
        dialer.connect(where, "box").close()

    def log(self) -> str:
        return self.host.server.log()[self._read :]

    def refused_keys(self) -> int:
        return self.log().count("Failed publickey")

    def accepted(self) -> str:
        """The server's line about the login."""
        found = wait_until(lambda: re.search(r"Accepted publickey.*", self.log()), 5, "the server's log")
        assert found
        return found[0]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    folder = tmp_path_factory.mktemp("host")
    make_key(folder / "authority")
    config = [VERBOSE, "MaxAuthTries 3", f"TrustedUserCAKeys {folder}/authority.pub"]
    with RealHost(folder, config=config) as made:
        yield made


@pytest.fixture
def door(host: RealHost, tmp_path: Path) -> Door:
    return Door(host, tmp_path)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[SshAgent]:
    with SshAgent(tmp_path) as made:
        yield made


def test_a_key_that_only_an_agent_has(door: Door, agent: SshAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.add(door.host.key)
    door.open(door.where(identity_agent=str(agent.socket)))
    monkeypatch.setenv("MY_AGENT", str(agent.socket))
    door.open(door.where(identity_agent="$MY_AGENT"))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
    door.open(door.where(identity_agent=""))
    with pytest.raises(AuthenticationError):
        door.open(door.where(identity_agent="none"))


def test_identities_only_leaves_the_agents_other_keys_out(door: Door, agent: SshAgent) -> None:
    agent.add(*make_keys(door.folder, 5), door.host.key)
    public = door.folder / "named.pub"
    public.write_text(door.host.key.with_name("client_key.pub").read_text())
    door.open(door.where(public, identity_agent=str(agent.socket), identities_only=True))
    assert door.refused_keys() == 0


def test_keys_that_are_named_come_before_the_agents_others(door: Door, agent: SshAgent) -> None:
    agent.add(*make_keys(door.folder, 5), door.host.key)
    door.open(door.where(door.host.key, identity_agent=str(agent.socket)))
    assert door.refused_keys() == 0


def test_too_many_keys_are_one_refusal_and_no_second_connection(door: Door, agent: SshAgent) -> None:
    agent.add(*make_keys(door.folder, 8))
    with pytest.raises(AuthenticationError, match="too many keys"):
        door.open(door.where(identity_agent=str(agent.socket)))
    assert door.host.proxy.connections == 1


def test_a_refusal_is_never_tried_again(door: Door) -> None:
    with pytest.raises(AuthenticationError, match="it takes publickey") as caught:
        door.open(door.where(*make_keys(door.folder, 1)))
    assert "orch host key box" in caught.value.hint and "PASSWORD" not in caught.value.hint
    assert door.host.proxy.connections == 1


def test_files_that_are_no_keys_are_said_and_passed_over(door: Door) -> None:
    junk = door.folder / "junk"
    junk.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    door.open(door.where(junk, door.host.key))
    with pytest.raises(AuthenticationError) as caught:
        door.open(door.where(junk))
    assert f"Not used: {junk}: it is no private key" in caught.value.hint


@pytest.fixture
def locked(door: Door) -> Path:
    path = door.folder / "locked"
    path.write_bytes(door.host.key.read_bytes())
    path.chmod(0o600)
    return lock_key(path, "open sesame")


def test_a_passphrase_is_asked_once_for_several_hosts_at_once(door: Door, locked: Path) -> None:
    person = Person(passphrase="open sesame")
    dialer = Dialer(KnownHosts(door.known), person)
    barrier = threading.Barrier(4)

    def log_in(number: int) -> None:
        barrier.wait(10)
        dialer.connect(door.where(locked), f"box{number}").close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(log_in, range(4)))
    assert person.asked == [f"passphrase {locked}"]


def test_a_wrong_passphrase(door: Door, locked: Path) -> None:
    with pytest.raises(AuthenticationError, match=r"the passphrase of .*locked is wrong"):
        door.open(door.where(locked), Person(passphrase="wrong"))


def test_nobody_to_type_the_passphrase(door: Door, locked: Path) -> None:
    with pytest.raises(AuthenticationError) as caught:
        door.open(door.where(locked))
    assert "locked needs its passphrase" in caught.value.hint


def test_no_passphrase_is_asked_when_another_key_opens(door: Door, locked: Path, agent: SshAgent) -> None:
    person = Person(passphrase="open sesame")
    door.open(door.where(locked, door.host.key), person)
    agent.add(door.host.key)
    door.open(door.where(locked, identity_agent=str(agent.socket)), person)
    assert person.asked == []


@pytest.fixture
def certified(door: Door) -> Path:
    """A key that opens the host by its certificate only."""
    key = door.folder / "certified"
    make_key(key)
    sign_key(door.host.folder / "authority", key.with_name("certified.pub"), door.host.user_name)
    return key


def test_a_certificate_beside_its_key(door: Door, certified: Path) -> None:
    door.open(door.where(certified))
    assert "CERT" in door.accepted()
    # What is not certified falls back on the key itself.
    certified.with_name("certified-cert.pub").unlink()
    with pytest.raises(AuthenticationError):
        door.open(door.where(certified))


def test_a_certificate_file(door: Door, certified: Path) -> None:
    moved = certified.with_name("elsewhere.pub")
    certified.with_name("certified-cert.pub").rename(moved)
    other = make_keys(door.folder, 1)[0]
    foreign = sign_key(door.host.folder / "authority", other.with_name("other_0.pub"), "nobody")
    door.open(door.where(certified, certificates=(foreign, door.folder / "missing", moved)))
    assert "CERT" in door.accepted()
    assert door.refused_keys() == 0, "a certificate is shown with its own key only"


def test_a_certificate_of_a_key_in_an_agent(door: Door, certified: Path, agent: SshAgent) -> None:
    agent.add(certified)
    certified.unlink()
    certificate = certified.with_name("certified-cert.pub")
    door.open(door.where(identity_agent=str(agent.socket), certificates=(certificate,)))
    assert "CERT" in door.accepted()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_descriptor_and_no_thread_is_left(door: Door, agent: SshAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.add(door.host.key)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket))
    # Not through the proxy: its sockets are this process's too.
    port = door.host.server.port
    door.known.write_text(door.host.known_line(f"[127.0.0.1]:{port}"))
    right = door.where(identity_agent="", port=port)
    wrong = door.where(*make_keys(door.folder, 1), port=port)
    door.open(right)
    threads = set(threading.enumerate())
    before = open_files()

    def once(number: int) -> None:
        if number % 5:
            door.open(right)
        else:
            with pytest.raises(AuthenticationError):
                door.open(wrong)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(50)))
    wait_until(lambda: set(threading.enumerate()) <= threads, 10, "threads ended")
    wait_until(lambda: open_files() <= before, 10, "files closed")
