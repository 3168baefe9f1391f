"""What a login line and an ssh_config come to, read by OpenSSH itself."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.loopback import make_key
from orchestrator.remote.ssh_config import Resolved, resolve
from orchestrator.remote.target import SshTarget


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def look_up(home: Path, text: str, target: SshTarget) -> Resolved:
    (home / ".ssh" / "config").write_text(text)
    return resolve(target, home=home)


def test_without_a_config(home: Path) -> None:
    found = resolve(SshTarget("gpu.example.com", 38076, "root"), home=home)
    assert (found.host, found.port, found.user) == ("gpu.example.com", 38076, "root")
    assert found.known_hosts[0] == home / ".ssh" / "known_hosts"
    assert Path("/etc/ssh/ssh_known_hosts") in found.known_hosts
    assert found.identity_files == () and found.jumps == () and found.key_entry == "[gpu.example.com]:38076"


def test_include_and_match(home: Path) -> None:
    (home / "more").write_text("Host box\n User alice\n Port 2201\n")
    text = f"Include {home}/more\nMatch originalhost box user alice\n HostName 10.0.0.9\n"
    found = look_up(home, text, SshTarget("box"))
    assert (found.host, found.port, found.user) == ("10.0.0.9", 2201, "alice")


def test_what_is_typed_goes_before_the_config(home: Path) -> None:
    text = "Host box\n User alice\n Port 2201\n ProxyJump bastion\n"
    target = SshTarget("box", 22, "bob", jump="other", options=(("HostName", "10.0.0.1"),))
    found = look_up(home, text, target)
    assert (found.host, found.port, found.user) == ("10.0.0.1", 22, "bob")
    assert [hop.host for hop in found.jumps] == ["other"]


def test_tokens(home: Path) -> None:
    make_key(home / ".ssh" / "id_alice_10.0.0.9")
    text = (
        "Host box\n HostName 10.0.0.9\n User alice\n Port 2201\n"
        " IdentityFile ~/.ssh/id_%r_%h\n CertificateFile %d/cert-%n-%p\n UserKnownHostsFile ~/known-%h ~/second\n"
        " ProxyCommand carry %%h %h %p %r %n\n"
    )
    found = look_up(home, text, SshTarget("box"))
    assert found.identity_files == (home / ".ssh" / "id_alice_10.0.0.9",)
    assert found.certificates == (home / "cert-box-2201",)
    assert found.known_hosts[:2] == (home / "known-10.0.0.9", home / "second")
    assert found.proxy_command == "carry %h 10.0.0.9 2201 alice box"


def test_hops(home: Path) -> None:
    text = (
        "Host outer\n HostName 10.1.1.1\n User gate\n"
        "Host inner\n HostName 10.2.2.2\n ProxyJump outer\n"
        "Host box\n ProxyJump inner\n"
        "Host free\n ProxyJump none\n"
    )
    found = look_up(home, text, SshTarget("box"))
    assert [(hop.host, hop.user) for hop in found.jumps] == [("10.1.1.1", "gate"), ("10.2.2.2", getpass.getuser())]
    assert look_up(home, text, SshTarget("free")).jumps == ()
    both = look_up(home, text, SshTarget("x", jump="root@[::1]:2222,outer"))
    assert [(hop.host, hop.port) for hop in both.jumps] == [("::1", 2222), ("10.1.1.1", 22)]


def test_a_circle_of_hops_is_said(home: Path) -> None:
    with pytest.raises(UsageError, match="circle: box -> outer -> inner -> outer"):
        look_up(home, "Host inner\n ProxyJump outer\nHost *\n ProxyJump inner\n", SshTarget("box", jump="outer"))
    # The short circle is found by OpenSSH itself.
    with pytest.raises(UsageError, match="jumphost loop via bastion"):
        look_up(home, "Host *\n ProxyJump bastion\n", SshTarget("box"))


def test_a_broken_config_is_said(home: Path) -> None:
    with pytest.raises(UsageError, match=r"config.*line 2.*[Nn]onsense"):
        look_up(home, "Host box\n Nonsense yes\n", SshTarget("box"))


def test_a_key_that_is_not_there(home: Path) -> None:
    with pytest.raises(UsageError, match="nowhere is not there"):
        resolve(SshTarget("box", identity_files=(str(home / "nowhere"),)), home=home)


def test_a_key_of_which_only_the_public_half_is_here(home: Path) -> None:
    make_key(home / "token")
    (home / "token").unlink()
    found = resolve(SshTarget("box", identity_files=(str(home / "token"),)), home=home)
    assert found.identity_files == (home / "token",) and found.identities_only


@pytest.mark.parametrize(("line", "agent"), [("none", "none"), ("%d/agent", "{home}/agent"), ("$SOCK", "$SOCK")])
def test_identity_agent(home: Path, line: str, agent: str) -> None:
    found = look_up(home, f"Host box\n IdentityAgent {line}\n", SshTarget("box"))
    assert found.identity_agent == agent.format(home=home)


class TestWithoutAnSshProgram:
    """What a laptop does that has no OpenSSH."""

    @pytest.fixture(autouse=True)
    def no_ssh(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    def test_the_plain_things_work(self, home: Path) -> None:
        make_key(home / ".ssh" / "id_rsa")
        text = "Host box\n HostName 10.0.0.9 # the lab's\n User alice\n Port 2201\n ProxyJump none\n"
        found = look_up(home, text, SshTarget("box"))
        assert (found.host, found.port, found.user) == ("10.0.0.9", 2201, "alice")
        assert found.jumps == () and found.identity_files == (home / ".ssh" / "id_rsa",)

    @pytest.mark.parametrize("line", ["Include more", "Match exec true", "match canonical"])
    def test_what_would_be_misread_is_refused(self, home: Path, line: str) -> None:
        with pytest.raises(UsageError, match=r":1: .* needs an ssh program"):
            look_up(home, line + "\n", SshTarget("box"))
