from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import secrets
from remote_payload.agent.spool.workdir import remove_tree
from tests.unit.agent.spool.builder import Builder

WANTED = [
    {"name": "KEY", "optional": False, "at_rest": "memory"},
    {"name": "MAYBE", "optional": True, "at_rest": "memory"},
    {"name": "DISK", "optional": False, "at_rest": "disk"},
]


@pytest.fixture
def kept(spool: Builder) -> Iterator[Builder]:
    yield spool
    remove_tree(secrets.memory_folder(spool.paths))


def test_stored_read_and_removed(kept: Builder) -> None:
    spec = kept.submit(secrets=WANTED)
    assert secrets.missing(kept.paths, spec) == ["KEY", "DISK"]
    secrets.store(kept.paths, spec, {"KEY": "one\ntwo é", "DISK": "d", "OTHER": "not asked for"})
    assert secrets.missing(kept.paths, spec) == []
    assert secrets.read(kept.paths, spec) == {"KEY": "one\ntwo é", "DISK": "d"}
    memory = Path(secrets.memory_folder(kept.paths))
    assert memory.parent == Path("/dev/shm")
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (memory, memory / spec["id"], memory / spec["id"] / "KEY")]
    assert modes == [0o700, 0o700, 0o600]
    assert os.listdir(memory / spec["id"]) == ["KEY"]
    secrets.remove(kept.paths, spec["id"])
    assert secrets.read(kept.paths, spec) == {}
    assert secrets.missing(kept.paths, spec) == ["KEY", "DISK"]


def test_two_spools_do_not_share(kept: Builder, tmp_path: Path) -> None:
    assert secrets.memory_folder(kept.paths) != secrets.memory_folder(Builder(tmp_path / "other").paths)


def test_a_folder_that_is_a_trap_is_refused(kept: Builder, tmp_path: Path) -> None:
    spec = kept.submit(secrets=WANTED[:1])
    os.symlink(tmp_path, secrets.memory_folder(kept.paths))
    with pytest.raises(AgentFault) as caught:
        secrets.store(kept.paths, spec, {"KEY": "v"})
    assert caught.value.code == "refused"
    assert "KEY" not in os.listdir(tmp_path)


def test_no_memory_no_secret(kept: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "MEMORY_FOLDER", str(tmp_path / "nothing"))
    spec = kept.submit(secrets=WANTED)
    with pytest.raises(AgentFault) as caught:
        secrets.store(kept.paths, spec, {"KEY": "v"})
    assert "at_rest: disk" in caught.value.hint
    secrets.store(kept.paths, spec, {"DISK": "d"})
    assert secrets.read(kept.paths, spec) == {"DISK": "d"}


def test_values_that_cannot_be_an_environment_are_refused(kept: Builder) -> None:
    spec = kept.submit(secrets=WANTED)
    for value in ("a\0b", "x" * (secrets.MAX_VALUE + 1)):
        with pytest.raises(AgentFault):
            secrets.store(kept.paths, spec, {"KEY": value})


def test_which_file_systems_are_in_memory(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"overlay / overlay rw 0 0\nshm {tmp_path}/a tmpfs rw 0 0\nx {tmp_path}/a/b ext4 rw 0 0\n"
        f"shm {tmp_path}/with\\040space tmpfs rw 0 0\nshm {tmp_path}/twice tmpfs rw 0 0\n"
        f"y {tmp_path}/twice ext4 rw 0 0\n"
    )
    for name, expected in (("a", True), ("a/x", True), ("a/b", False), ("ab", False), ("with space", True),
                           ("twice", False), ("", False)):  # fmt: skip
        assert secrets.is_tmpfs(str(tmp_path / name), str(mounts)) == expected, name
    assert not secrets.is_tmpfs("/x", str(tmp_path / "none"))
