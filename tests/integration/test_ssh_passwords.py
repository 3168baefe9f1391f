"""Logging in with passwords against a real sshd and a real user; needs root, as adding a user does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from keyring.backends import null

from orchestrator.errors import AuthenticationError
from orchestrator.remote.asker import Asker, SilentAsker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import KnownHosts
from orchestrator.remote.ssh_config import Resolved
from tests.harness.hosts import VERBOSE, RealHost
from tests.harness.ssh_people import Person, make_keys
from tests.harness.users import SystemUser
from tests.harness.waiting import wait_until

BOTH = (VERBOSE, "PasswordAuthentication yes", "MaxAuthTries 3")


@pytest.fixture(scope="module")
def user() -> Iterator[SystemUser]:
    with SystemUser("tcsh") as made:
        yield made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, user: SystemUser) -> Iterator[RealHost]:
    with RealHost(tmp_path_factory.mktemp("host"), config=BOTH, user=user) as made:
        yield made


def dialer(host: RealHost, folder: Path, asker: Asker) -> Dialer:
    known = folder / "known_hosts"
    known.write_text(host.known_line())
    return Dialer(KnownHosts(known), asker)


def with_keys(host: RealHost, folder: Path) -> Resolved:
    """A login that also has keys to offer, more than the host takes."""
    return replace(host.resolved(), identity_files=tuple(make_keys(folder, 4)))


def since(host: RealHost, start: int) -> str:
    return host.server.log()[start:]


def test_with_a_password_no_key_is_offered(
    host: RealHost, user: SystemUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = len(host.server.log())
    monkeypatch.setenv("ORCH_PASSWORD_MY_BOX", user.password)
    person = Person()
    dialer(host, tmp_path, person).connect(with_keys(host, tmp_path), "my-box").close()
    wait_until(lambda: "Accepted password" in since(host, start), 5, "the server's log")
    assert "publickey" not in since(host, start) and person.asked == []


def test_a_password_is_asked_once_in_a_run(host: RealHost, user: SystemUser, tmp_path: Path) -> None:
    person = Person(password=user.password)
    dial = dialer(host, tmp_path, person)
    where = replace(host.resolved(), identity_files=())
    for _ in range(3):
        dial.connect(where, "box").close()
    assert person.asked == [f"password {user.name}@box"]
    assert dial.memory.asked == {"box"}


def test_a_password_of_the_keyring(host: RealHost, user: SystemUser, tmp_path: Path) -> None:
    class Drawer(null.Keyring):
        def get_password(self, service: str, username: str, password: str | None = None) -> str | None:
            return user.password if (service, username) == ("orch", "host:box") else None

    before = keyring.get_keyring()
    keyring.set_keyring(Drawer())  # type: ignore[no-untyped-call]
    try:
        dialer(host, tmp_path, SilentAsker()).connect(with_keys(host, tmp_path), "box").close()
    finally:
        keyring.set_keyring(before)


def test_a_refused_password_is_not_sent_again(host: RealHost, tmp_path: Path) -> None:
    host.proxy.reset_counts()
    start = len(host.server.log())
    person = Person(password="wrong")
    with pytest.raises(AuthenticationError, match="refused the password"):
        dialer(host, tmp_path, person).connect(replace(host.resolved(), identity_files=()), "box")
    assert host.proxy.connections == 1 and len(person.asked) == 1
    wait_until(lambda: "Failed password" in since(host, start), 5, "the server's log")
    assert since(host, start).count("Failed password") == 1


def test_keys_come_before_a_password_that_must_be_asked(host: RealHost, user: SystemUser, tmp_path: Path) -> None:
    start = len(host.server.log())
    where = replace(host.resolved(), identity_files=tuple(make_keys(tmp_path, 1)))
    dialer(host, tmp_path, Person(password=user.password)).connect(where, "box").close()
    wait_until(lambda: "Accepted password" in since(host, start), 5, "the server's log")
    assert since(host, start).index("Failed publickey") < since(host, start).index("Accepted password")


def test_a_host_that_takes_keys_only_gets_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_PASSWORD_BOX", "of another day")
    with RealHost(tmp_path / "host") as keys_only:
        dialer(keys_only, tmp_path, SilentAsker()).connect(keys_only.resolved(), "box").close()


def test_a_key_and_then_a_password(user: SystemUser, tmp_path: Path) -> None:
    (user.home / ".ssh").mkdir(mode=0o700)
    config = ["AuthenticationMethods publickey,password", "AuthorizedKeysFile .ssh/authorized_keys", *BOTH]
    with RealHost(tmp_path / "host", config=config, user=user) as host:
        (user.home / ".ssh" / "authorized_keys").write_text(host.key.with_name("client_key.pub").read_text())
        user.own(user.home / ".ssh")
        person = Person(password=user.password)
        dialer(host, tmp_path, person).connect(host.resolved(), "box").close()
        assert len(person.asked) == 1
        with pytest.raises(AuthenticationError) as caught:
            dialer(host, tmp_path, SilentAsker()).connect(host.resolved(), "my.box")
        assert "set ORCH_PASSWORD_MY_BOX" in caught.value.hint


def test_keyboard_interactive(user: SystemUser, tmp_path: Path) -> None:
    config = ["UsePAM yes", "KbdInteractiveAuthentication yes", "AuthenticationMethods keyboard-interactive"]
    with RealHost(tmp_path / "host", config=config, user=user) as host:
        person = Person(password=user.password)
        dialer(host, tmp_path, person).connect(host.resolved(), "box").close()
        assert len(person.asked) == 1
        with pytest.raises(AuthenticationError, match="refused the password"):
            dialer(host, tmp_path, Person(password="wrong")).connect(host.resolved(), "box")
