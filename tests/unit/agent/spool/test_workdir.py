from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.manifests import canonical, manifest_id
from remote_payload.agent.spool.workdir import extract, extract_tree, read_index, remove_tree
from remote_payload.agent.wire.messages import Entry
from tests.unit.agent.spool.builder import Builder, file_entry, sha

NAMES = ["a b", "quo'te\"", "new\nline", "日本語", "raw\udcff", "-rf", "$HOME", "back\\slash", "deep/er/file"]


def lay_out(spool: Builder, snapshot: str) -> Path:
    place = spool.paths.job("j-abcd")
    atomic.make_folder(place.folder)
    assert extract(spool.paths, snapshot, place.workdir, place.workdir_index)
    return Path(place.workdir)


def test_files_modes_links_and_empty_folders(spool: Builder) -> None:
    links: list[Entry] = [
        {"p": "link", "t": "l", "to": "run.sh"},
        {"p": "out", "t": "l", "to": "/etc/passwd"},
        {"p": "empty/er", "t": "d"},
    ]
    files = {name: os.fsencode(name) for name in NAMES}
    files.update({"run.sh": b"#!/bin/sh\n", "same": b"#!/bin/sh\n", "none": b""})
    workdir = lay_out(spool, spool.snapshot(files, *links, executable=("run.sh",)))
    for name, data in files.items():
        assert (workdir / name).read_bytes() == data
        assert bool(os.stat(workdir / name).st_mode & 0o100) == (name == "run.sh")
    assert os.readlink(workdir / "link") == "run.sh"
    assert os.readlink(workdir / "out") == "/etc/passwd"
    assert list((workdir / "empty/er").iterdir()) == []
    index = read_index(spool.paths.job("j-abcd").workdir_index)
    assert index is not None and set(index) == set(files)
    status = os.stat(workdir / "run.sh")
    assert index["run.sh"] == (status.st_size, status.st_mtime_ns)


def test_a_retry_goes_on_in_the_same_workdir(spool: Builder) -> None:
    snapshot = spool.snapshot({"a": b"1"})
    workdir = lay_out(spool, snapshot)
    (workdir / "a").write_bytes(b"2")
    (workdir / "checkpoint").write_bytes(b"3")
    place = spool.paths.job("j-abcd")
    assert not extract(spool.paths, snapshot, place.workdir, place.workdir_index)
    assert (workdir / "a").read_bytes() == b"2"
    assert (workdir / "checkpoint").exists()


def test_what_a_killed_supervisor_left_is_built_over(spool: Builder) -> None:
    left = Path(spool.paths.job("j-abcd").workdir + ".tmp")
    (left / "half").mkdir(parents=True)
    workdir = lay_out(spool, spool.snapshot({"a": b"1"}))
    assert sorted(os.listdir(workdir)) == ["a"]
    assert not left.exists()


def test_an_empty_tree_is_a_workdir(spool: Builder) -> None:
    assert list(lay_out(spool, spool.snapshot({})).iterdir()) == []


def test_missing_and_damaged_code_leaves_no_workdir(spool: Builder) -> None:
    place = spool.paths.job("j-abcd")
    atomic.make_folder(place.folder)
    snapshot = spool.snapshot({"a": b"one", "b": b"two"})
    for pack in Path(spool.paths.packs).glob("*.pack"):
        pack.write_bytes(b"x" * pack.stat().st_size)
    with pytest.raises(AgentFault):
        extract(spool.paths, snapshot, place.workdir, place.workdir_index)
    for each in Path(spool.paths.packs).iterdir():
        each.unlink()
    with pytest.raises(AgentFault) as caught:
        extract(spool.paths, snapshot, place.workdir, place.workdir_index)
    assert caught.value.code == "not_found"
    with pytest.raises(AgentFault):
        extract(spool.paths, "0" * 64, place.workdir, place.workdir_index)
    assert os.listdir(place.folder) == []


HOSTILE: list[list[Any]] = [
    [file_entry("../x", b"1")],
    [file_entry("/tmp/x", b"1")],
    [file_entry("a/../../x", b"1")],
    [{"p": "d", "t": "l", "to": "/tmp"}, file_entry("d/x", b"1")],
    [file_entry("d/x", b"1"), {"p": "d", "t": "l", "to": "/tmp"}],
    [file_entry("a", b"1"), file_entry("a", b"1")],
    [file_entry("a", b"1"), file_entry("a/b", b"1")],
    [file_entry("a//b", b"1")],
    [file_entry("a\0b", b"1")],
    [{"p": "fifo", "t": "p"}],
]


@pytest.mark.parametrize("entries", HOSTILE)
def test_a_hostile_manifest_is_refused_even_when_it_is_stored(spool: Builder, entries: list[Any]) -> None:
    spool.put(b"1")
    manifest = {"version": 1, "entries": entries}
    snapshot = manifest_id(manifest)
    atomic.write_bytes(spool.paths.snapshot(snapshot), canonical(manifest))
    target = Path(spool.paths.tmp) / "tree"
    with pytest.raises(AgentFault):
        extract_tree(spool.paths, snapshot, str(target))
    assert not target.exists()
    atomic.write_bytes(spool.paths.snapshot(sha(b"other")), canonical({"version": 1, "entries": []}))
    with pytest.raises(AgentFault) as caught:
        extract_tree(spool.paths, sha(b"other"), str(target))
    assert "digest" in caught.value.message


def test_removing_a_tree_follows_no_link_and_minds_no_mode(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tmp_path / "tree"
    (tree / "locked" / "deeper").mkdir(parents=True)
    (tree / "locked" / "deeper" / "file").touch()
    (tree / "away").symlink_to(kept)
    (tree / "locked" / "deeper").chmod(0)
    (tree / "locked").chmod(0o500)
    remove_tree(str(tree))
    assert not tree.exists()
    assert (kept / "file").exists()
    (tmp_path / "link").symlink_to(kept)
    remove_tree(str(tmp_path / "link"))
    assert (kept / "file").exists() and not (tmp_path / "link").is_symlink()
    remove_tree(str(tmp_path / "nothing"))
