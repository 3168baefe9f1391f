"""What the laptop packs, the agent lays out as it was: both ends for real, only the wire between them left out."""

from __future__ import annotations

import json
import os
from pathlib import Path

from orchestrator.ship.pack import plan_packs
from orchestrator.ship.scan import Tree, scan_tree
from remote_payload.agent.spool.packs import PackWriter
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.spool.workdir import extract_tree


def lay_out(tree: Tree, base: Path) -> Path:
    """Do what put_pack, enqueue and the start of a job do on the host."""
    paths = SpoolPaths(str(base / "spool"))
    for folder in (paths.packs, paths.tmp, paths.snapshots):
        Path(folder).mkdir(parents=True)
    for pack in plan_packs(tree, tree.blobs, base / "tmp", pack_bytes=4000):
        with pack:
            writer = PackWriter(paths, pack.size, pack.index_size, pack.sha256)
            for chunk in pack.chunks():
                writer.add(chunk)
            assert writer.finish() == len(pack.entries)
            writer.close()
    Path(paths.snapshot(tree.snapshot_id)).write_text(json.dumps(tree.manifest))
    extract_tree(paths, tree.snapshot_id, str(base / "workdir"))
    return base / "workdir"


def listing(root: Path) -> dict[bytes, tuple[str, bytes, bool]]:
    """Return {path: (kind, content or target, executable)} of everything below a folder."""
    found = {}
    for path in root.rglob("*"):
        name = os.fsencode(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", os.fsencode(path.readlink()), False)
        elif path.is_dir():
            found[name] = ("folder", b"", False)
        else:
            found[name] = ("file", path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


def test_the_workdir_is_the_tree(tmp_path: Path) -> None:
    root = tmp_path / "code"
    for number, name in enumerate(
        [b"a b", b"q'\"", b"l\nf", "\u6a21\u578b".encode(), b"\xff\xfe", b"-x", b"b\\s", b"$(id)", b"`"]
    ):
        folder = root / os.fsdecode(name)
        (folder / "empty").mkdir(parents=True)
        (folder / os.fsdecode(name)).write_bytes(name * (number * 400))
        (folder / "noise").write_bytes(os.urandom(number * 100))
        (folder / "run").write_bytes(b"#!/bin/sh\n")
        (folder / "run").chmod(0o755)
        (folder / "up").symlink_to("../gone")
    assert listing(lay_out(scan_tree(root), tmp_path)) == listing(root)


def test_an_empty_tree(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    assert listing(lay_out(scan_tree(tmp_path / "code"), tmp_path)) == {}
