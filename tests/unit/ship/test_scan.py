"""A frozen tree is the tree: names, links, modes, and no digest that might be old."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from orchestrator.errors import RefusedError, UsageError
from orchestrator.ship import hashing, scan
from orchestrator.ship.scan import Tree, scan_tree
from orchestrator.ship.walk import leaves_tree
from orchestrator.store.hashes import HashRow
from remote_payload.agent.spool.manifests import check_manifest, manifest_id


class Cache:
    """A digest cache in memory that counts."""

    def __init__(self) -> None:
        self.rows: dict[str, HashRow] = {}
        self.saved = 0

    def cached_hashes(self, root: str) -> dict[str, HashRow]:
        return dict(self.rows)

    def save_hashes(self, root: str, changed: Mapping[str, HashRow], gone: Iterable[str]) -> None:
        for name in gone:
            self.rows.pop(name, None)
        self.rows.update(changed)
        self.saved += len(changed)


def entries(tree: Tree) -> dict[str, dict[str, object]]:
    return {entry["p"]: dict(entry) for entry in tree.manifest["entries"]}


def test_names_links_modes_and_empty_folders(tmp_path: Path) -> None:
    hostile = [b"with space", b"quo'te\"", b"line\nbreak", "n\u00e9\u6a21\u578b".encode()]
    hostile += [b"not\xffutf8", b"-rf", b"back\\slash", b"$(x)"]
    for name in hostile:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    (tmp_path / "run").write_bytes(b"x")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "empty" / "nested").mkdir(parents=True)
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dir").symlink_to("empty")
    (tmp_path / "out").symlink_to("/etc/passwd")
    tree = scan_tree(tmp_path)
    found = entries(tree)
    assert {name for name in found if found[name]["t"] == "f"} == {
        *(name.decode("utf-8", "surrogateescape") for name in hostile),
        "run",
    }
    assert found["run"]["x"] is True and found["with space"]["x"] is False
    assert found["empty/nested"] == {"p": "empty/nested", "t": "d"} and "empty" not in found
    assert {name: found[name]["to"] for name in ("link", "loop", "dir", "out")} == {
        "link": "run",
        "loop": "loop",
        "dir": "empty",
        "out": "/etc/passwd",
    }
    assert tree.warnings == ["symlinks that lead out of the code folder are sent as they are: out"]
    assert (tree.total_files, tree.total_bytes) == (9, sum(map(len, hostile)) + 1)
    check_manifest(tree.manifest)
    assert tree.snapshot_id == manifest_id(tree.manifest)
    assert scan_tree(tmp_path).snapshot_id == tree.snapshot_id


def test_a_folder_of_ignored_files_is_there_but_empty(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").touch()
    assert entries(scan_tree(tmp_path, ["*.csv"])) == {"data": {"p": "data", "t": "d"}}


def test_special_files_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        tree = scan_tree(tmp_path)
    assert tree.special == ["pipe", "sock"] and tree.manifest["entries"] == []
    assert "pipe, sock" in tree.warnings[0]
    assert scan_tree(tmp_path, ["pipe", "sock"]).warnings == []


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good").touch()
    (tmp_path / "secret").touch()
    really = hashing.open_plain

    def refuse(path: str) -> int:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return really(path)

    monkeypatch.setattr(hashing, "open_plain", refuse)
    tree = scan_tree(tmp_path)
    assert tree.unreadable == {"secret": "Permission denied"} and set(entries(tree)) == {"good"}
    assert tree.warnings == ["left out because they cannot be read (Permission denied): secret"]


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        scan_tree(tmp_path / "nowhere")


def test_scripts_go_with_lf(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_bytes(b"echo 1\r\necho 2\r\n")
    (tmp_path / "tool").write_bytes(b"#!/usr/bin/env python3\r\nprint()\r\n")
    (tmp_path / "data.txt").write_bytes(b"a\r\nb\r\n")
    (tmp_path / "installer.sh").write_bytes(b"#!/bin/sh\r\nexit\n\0\r\n")
    cache = Cache()
    for _ in range(2):
        tree = scan_tree(tmp_path, cache=cache)
        assert tree.crlf_fixed == ["run.sh", "tool"]
        assert {name: entry["s"] for name, entry in entries(tree).items()} == {
            "run.sh": 14,
            "tool": 31,
            "data.txt": 6,
            "installer.sh": 19,
        }


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    for name in "ab":
        os.utime(tmp_path / name, (1e9, 1e9))
    cache = Cache()
    # ctime cannot be set, so the files are as new as they are and the rule about new files is off.
    monkeypatch.setattr(scan, "RACY_NS", -(10**18))
    first = scan_tree(tmp_path, cache=cache)
    assert cache.saved == 2
    read: list[str] = []
    really = hashing.hash_file

    def counted(path: str, shown: str) -> HashRow | None:
        read.append(shown)
        return really(path, shown)

    monkeypatch.setattr(hashing, "hash_file", counted)
    assert scan_tree(tmp_path, cache=cache).snapshot_id == first.snapshot_id
    assert read == []
    (tmp_path / "b").write_text("3")
    os.utime(tmp_path / "b", (1e9, 1e9))
    second = scan_tree(tmp_path, cache=cache)
    assert read == ["b"] and second.snapshot_id != first.snapshot_id
    (tmp_path / "a").unlink()
    scan_tree(tmp_path, cache=cache)
    assert set(cache.rows) == {"b"}


def test_a_file_touched_just_now_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    cache = Cache()
    scan_tree(tmp_path, cache=cache)
    assert cache.rows == {}


def test_a_file_that_keeps_changing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1000)
    read = os.read

    def read_while_somebody_writes(fd: int, size: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"y")
        return read(fd, size)

    monkeypatch.setattr(os, "read", read_while_somebody_writes)
    with pytest.raises(RefusedError, match="log keeps changing"):
        scan_tree(tmp_path)


def test_large_trees_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "WARN_BYTES", 1000)
    (tmp_path / "big.bin").write_bytes(b"1" * 2000)
    (tmp_path / "small").touch()
    (warning,) = scan_tree(tmp_path).warnings
    assert "code.ignore" in warning and "The largest: big.bin (0.0 MB), small" in warning


def test_deep_trees(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    tree = scan_tree(tmp_path)
    assert entries(tree) == {"/".join("d" * 600): {"p": "/".join("d" * 600), "t": "d"}}


@pytest.mark.parametrize(
    ("rel", "target", "leaves"),
    [("a", "b", False), ("a", "../b", True), ("d/a", "../b", False), ("d/a", "../../b", True), ("a", "/b", True)],
)
def test_leaving_the_tree(rel: str, target: str, leaves: bool) -> None:
    assert leaves_tree(rel, target) is leaves
