"""Which host keys are trusted, through the command line and against real sshds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import HostKeyError
from orchestrator.loopback import make_key
from orchestrator.remote.asker import SilentAsker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import KnownHosts
from tests.harness.cli import Laptop
from tests.harness.hosts import RealHost
from tests.harness.ssh_people import Person


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RealHost]:
    with RealHost(tmp_path) as made:
        yield made


def say_hello(laptop: Laptop, code: int = 0) -> str:
    """Run a command on the host; return what orch says on stderr."""
    return laptop.orch("exec", "box", "--", "true", code=code).stderr


def test_the_life_of_a_host_key(host: RealHost) -> None:
    laptop = host.laptop(known=False)
    user_file = laptop.home / ".ssh" / "known_hosts"
    user_file.parent.mkdir()
    user_file.write_text("")
    # Unknown, and nobody to ask.
    told = laptop.orch("host", "add", "box", host.login, code=3).stderr
    assert "is not known here (ssh-ed25519 SHA256:" in told
    assert "orch host trust box, or --accept-new in scripts" in told
    # Accepted: written to orch's own file, and only there.
    laptop.orch("host", "add", "box", host.login, "--accept-new")
    own = laptop.home / "orch" / "known_hosts"
    assert own.read_text() == host.known_line() and user_file.read_text() == ""
    assert own.stat().st_mode & 0o777 == 0o600
    say_hello(laptop)
    # Changed: refused, also with --accept-new, with the very line that replaces it.
    (host.server.folder / "host_key").unlink()
    (host.server.folder / "host_key.pub").unlink()
    host.server.stop()
    host.server.start()
    for words in ([], ["--accept-new"]):
        done = laptop.orch("exec", *words, "box", "--", "true", code=None)
        assert done.returncode != 0
        assert "the host key of [127.0.0.1]:" in done.stderr and "changed" in done.stderr
        assert "orch host trust box --replace" in done.stderr
    assert laptop.orch("host", "trust", "box", "-y", code=3).stderr.count("orch host trust box --replace") == 1
    laptop.orch("host", "trust", "box", "--replace", "-y")
    assert own.read_text() == host.known_line()
    say_hello(laptop)
    # Revoked in the person's file.
    user_file.write_text("@revoked * " + host.server.public_key() + "\n")
    assert "revoked" in say_hello(laptop, 255)


@pytest.mark.parametrize("hashed", [False, True])
def test_the_persons_own_file_counts(host: RealHost, hashed: bool) -> None:
    laptop = host.laptop(known=False)
    file = laptop.home / ".ssh" / "known_hosts"
    file.parent.mkdir()
    file.write_text(host.known_line())
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
        assert "127.0.0.1" not in file.read_text()
    before = file.read_text()
    laptop.orch("host", "add", "box", host.login)
    assert file.read_text() == before and not (laptop.home / "orch" / "known_hosts").exists()


def test_a_name_for_the_key(host: RealHost) -> None:
    laptop = host.laptop(known=False)
    folder = laptop.home / ".ssh"
    folder.mkdir()
    (folder / "config").write_text(
        f"Host lab\n HostName 127.0.0.1\n Port {host.port}\n User {host.user_name}\n IdentityFile {host.key}\n"
        f" HostKeyAlias the-lab\n UserKnownHostsFile {folder}/lab_hosts\n"
    )
    (folder / "lab_hosts").write_text(host.known_line("the-lab"))
    laptop.orch("host", "add", "box", "ssh lab")
    say_hello(laptop)


def test_the_kind_on_record_is_asked_for(host: RealHost, tmp_path: Path) -> None:
    """A host with several keys is compared by the one that is known, and not taken for a changed one."""
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(rsa)], check=True)
    host.server.config = [f"HostKey {rsa}"]
    host.server.stop()
    host.server.start()
    for public in (rsa.with_name("rsa.pub"), host.server.folder / "host_key.pub"):
        kind, key = public.read_text().split()[:2]
        known = tmp_path / f"known-{kind}"
        known.write_text(f"[127.0.0.1]:{host.port} {kind} {key}\n")
        Dialer(KnownHosts(known), SilentAsker()).connect(host.resolved(), "box").close()


def test_a_key_is_checked_on_every_hop(host: RealHost, tmp_path: Path) -> None:
    with RealHost(tmp_path / "outer") as outer, RealHost(tmp_path / "middle") as middle:
        hosts = (outer, middle, host)
        where = replace(host.resolved(), jumps=(outer.resolved("outer"), middle.resolved("middle")))
        lines = [one.known_line() for one in hosts]
        known = tmp_path / "known"
        for missing, name in enumerate(("outer", "middle", "")):
            known.write_text("".join(line for number, line in enumerate(lines) if number != missing))
            with pytest.raises(HostKeyError, match="is not known here") as caught:
                Dialer(KnownHosts(known), SilentAsker()).connect(where, "box")
            assert f"[127.0.0.1]:{hosts[missing].port}" in caught.value.message
            assert (f"the jump host {name}" in caught.value.message) == bool(name)
            # Another key on record is a change, whoever asks to accept new ones.
            make_key(tmp_path / "foreign")
            foreign = (tmp_path / "foreign.pub").read_text()
            known.write_text("".join(lines[:missing]) + f"[127.0.0.1]:{hosts[missing].port} {foreign}\n")
            with pytest.raises(HostKeyError, match="changed") as caught:
                Dialer(KnownHosts(known), Person(trusts=True)).connect(where, "box")
            assert "orch host trust box --replace" in caught.value.hint
        known.write_text("".join(lines))
        dialer = Dialer(KnownHosts(known), SilentAsker())
        dialer.connect(where, "box").close()
        dialer.close()


def test_the_changed_key_of_a_jump_host_is_replaced_by_the_line_in_the_hint(host: RealHost, tmp_path: Path) -> None:
    with RealHost(tmp_path / "outer") as outer:
        laptop = host.laptop(known=False)
        (laptop.home / ".ssh").mkdir()
        (laptop.home / ".ssh" / "config").write_text(
            f"Host outer\n HostName 127.0.0.1\n Port {outer.port}\n User {outer.user_name}\n IdentityFile {outer.key}\n"
        )
        login = host.login.replace("ssh ", "ssh -J outer ")
        laptop.orch("host", "add", "box", login, "--no-check")
        make_key(tmp_path / "foreign")
        own = laptop.home / "orch" / "known_hosts"
        own.write_text(f"[127.0.0.1]:{outer.port} {(tmp_path / 'foreign.pub').read_text()}")
        assert "orch host trust box --replace" in say_hello(laptop, 255)
        assert "another key is on record" in laptop.orch("host", "trust", "box", "-y", code=3).stderr
        laptop.orch("host", "trust", "box", "--replace", "-y")
        assert sorted(own.read_text().splitlines(True)) == sorted([outer.known_line(), host.known_line()])
        say_hello(laptop)
