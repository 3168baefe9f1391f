"""Files of known hosts: names, patterns, hashes, revoked keys, and many writers at once."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from orchestrator.errors import HostKeyError
from orchestrator.loopback import make_key
from orchestrator.remote.asker import SilentAsker
from orchestrator.remote.hostkeys import Checker, KnownHosts, fingerprint
from orchestrator.remote.ssh_config import Resolved


def new_key(path: Path) -> paramiko.PKey:
    make_key(path)
    return paramiko.Ed25519Key.from_private_key_file(str(path))


@pytest.fixture
def key(tmp_path: Path) -> paramiko.PKey:
    return new_key(tmp_path / "key")


@pytest.fixture
def known(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "own" / "known_hosts", (tmp_path / "theirs",))


def line(names: str, key: paramiko.PKey) -> str:
    return f"{names} {key.get_name()} {key.get_base64()}\n"


@pytest.mark.parametrize(
    ("names", "name", "found"),
    [
        ("box", "box", True),
        ("other,box,third", "box", True),
        ("BOX", "box", True),
        ("*.example.com", "gpu.example.com", True),
        ("*.example.com,!gpu.example.com", "gpu.example.com", False),
        ("gpu?", "gpu1", True),
        ("gpu?", "gpu12", False),
        ("[10.0.0.1]:2222", "[10.0.0.1]:2222", True),
        ("[10.0.0.1]:*", "[10.0.0.1]:2222", True),
        ("1", "[10.0.0.1]:2222", False),
        pytest.param(paramiko.HostKeys.hash_host("[h]:2"), "[h]:2", True, id="hashed"),
        pytest.param(paramiko.HostKeys.hash_host("[h]:2"), "[h]:3", False, id="hashed, another"),
        ("|1|nonsense|x", "box", False),
    ],
)
def test_names(known: KnownHosts, key: paramiko.PKey, names: str, name: str, found: bool) -> None:
    known.others[0].write_text(line(names, key))
    assert known.lookup(name) == ([key] if found else [])


def test_broken_lines_and_comments_are_passed_over(known: KnownHosts, key: paramiko.PKey) -> None:
    known.others[0].write_bytes(b"# box\n\nbox\nbox ssh-ed25519 !!!\n\xff\xfe x\n" + line("box", key).encode())
    assert known.lookup("box") == [key]


def test_ours_replaces_theirs(known: KnownHosts, key: paramiko.PKey, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other")
    known.others[0].write_text(line("box", other))
    known.add("box", key)
    assert known.lookup("box") == [key]
    assert known.others[0].read_text() == line("box", other), "the person's own file is only read"
    known.add("box", other, replace=True)
    assert known.own.read_text() == line("box", other)


def test_a_changed_key_of_another_kind_is_a_change(known: KnownHosts, key: paramiko.PKey) -> None:
    known.add("box", paramiko.ECDSAKey.generate())
    checker = Checker(Resolved("box", "box", 22, "me"), known, YesAsker(), "my-box")
    with pytest.raises(HostKeyError, match="the host key of box changed") as caught:
        checker.missing_host_key(None, "box", key)
    assert "orch host trust my-box --replace" in caught.value.hint.splitlines()[-1]
    assert fingerprint(key) in caught.value.message


def test_a_revoked_key_is_refused_also_when_it_is_known(known: KnownHosts, key: paramiko.PKey) -> None:
    known.add("box", key)
    known.others[0].write_text("@revoked " + line("*", key))
    checker = Checker(Resolved("box", "box", 22, "me"), known, YesAsker(), "box")
    with pytest.raises(HostKeyError, match="revoked"):
        checker.missing_host_key(None, "box", key)


def test_a_name_without_its_port_counts_as_in_openssh(known: KnownHosts, key: paramiko.PKey) -> None:
    known.others[0].write_text(line("box", key))
    checker = Checker(Resolved("box", "box", 2222, "me"), known, SilentAsker(), "box")
    assert checker.preferred_types() == ["ssh-ed25519"]
    checker.missing_host_key(None, "box", key)
    assert not known.own.exists()


class YesAsker(SilentAsker):
    """Trusts everything: what is refused all the same is not a question."""

    def trust(self, host: str, key_type: str, fingerprint: str) -> bool:
        return True


def add_many(own: str, who: int, key: paramiko.PKey) -> None:
    for number in range(20):
        KnownHosts(Path(own)).add(f"host-{who}-{number}", key)


def test_many_threads_and_processes_write_at_once(known: KnownHosts, key: paramiko.PKey) -> None:
    own = str(known.own)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_in_process, args=(own, who, key.get_base64())) for who in range(2)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda who: add_many(own, who, key), range(2, 5)))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    names = {text.split()[0] for text in known.own.read_text().splitlines()}
    assert names == {f"host-{who}-{number}" for who in range(5) for number in range(20)}
    assert [path.name for path in known.own.parent.iterdir()] == ["known_hosts"]
    assert known.own.stat().st_mode & 0o777 == 0o600


def add_in_process(own: str, who: int, key: str) -> None:
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"x ssh-ed25519 {key}")
    assert entry is not None and entry.key is not None
    add_many(own, who, entry.key)


def test_a_lock_left_by_the_dead_is_taken_over(known: KnownHosts, key: paramiko.PKey) -> None:
    known.add("first", key)
    lock = known.own.with_name("known_hosts.lock")
    lock.touch()
    os.utime(lock, (0, 0))
    known.add("box", key)
    assert known.lookup("box") == [key]
