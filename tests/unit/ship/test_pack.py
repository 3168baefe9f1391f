"""What is packed and unpacked again is the tree."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import RefusedError
from orchestrator.ship.pack import Pack, plan_packs
from orchestrator.ship.scan import Tree, scan_tree

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..") and not raw.startswith(b".")
)
REPEATED = st.builds(lambda piece, times: piece * times, st.binary(max_size=9), st.integers(0, 900))
CONTENT = st.one_of(st.binary(max_size=300), REPEATED)


def unpack(packs: list[Pack]) -> dict[str, bytes]:
    """Read packs as the host does."""
    blobs = {}
    for pack in packs:
        stream = b"".join(pack.chunks())
        assert len(stream) == pack.index_size + pack.size
        assert hashlib.sha256(stream).hexdigest() == pack.sha256
        data = stream[pack.index_size :]
        at = 0
        for entry in json.loads(zlib.decompress(stream[: pack.index_size])):
            assert entry["o"] == at
            at += entry["s"]
            part = data[entry["o"] : at]
            blobs[entry["h"]] = zlib.decompress(part) if entry["z"] else part
        assert at == len(data)
        pack.close()
    return blobs


def all_packs(tree: Tree, tmp: Path, size: int = 1 << 20) -> list[Pack]:
    return list(plan_packs(tree, tree.blobs, tmp, size))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(b"/".join), CONTENT, max_size=8),
    size=st.integers(1, 2000),
)
def test_scan_pack_unpack_is_the_tree(
    tmp_path_factory: pytest.TempPathFactory, files: dict[bytes, bytes], size: int
) -> None:
    base = tmp_path_factory.mktemp("pack")
    (base / "code").mkdir()
    written = {}
    for name, data in files.items():
        path = base / "code" / os.fsdecode(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        except OSError:
            continue
        path.write_bytes(data)
        written[name] = data
    tree = scan_tree(base / "code", include=["*", "**/"])
    blobs = unpack(all_packs(tree, base / "tmp", size))
    assert set(blobs) == set(tree.blobs)
    there = {
        entry["p"].encode("utf-8", "surrogateescape"): blobs[entry["h"]]
        for entry in tree.manifest["entries"]
        if entry["t"] == "f"
    }
    expected = {name: data.replace(b"\r\n", b"\n") if fixed(name, data) else data for name, data in written.items()}
    assert there == expected


def fixed(name: bytes, data: bytes) -> bool:
    return (data.startswith(b"#!") or name.endswith(b".sh")) and b"\0" not in data


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "code"
    root.mkdir()
    (root / "text.py").write_text("import torch\n" * 500)
    (root / "same.py").write_text("import torch\n" * 500)
    (root / "noise").write_bytes(os.urandom(5000))
    (root / "weights.pt").write_bytes(b"\0" * 5000)
    (root / "run.sh").write_bytes(b"echo\r\n" * 100)
    return scan_tree(root)


def test_what_shrinks_is_compressed(tree: Tree, tmp_path: Path) -> None:
    (pack,) = all_packs(tree, tmp_path / "tmp")
    packed = {tree.blobs[entry["h"]].name: entry["z"] for entry in pack.entries}
    packed.pop("same.py", None)
    assert packed.pop("text.py", True) is True
    assert packed == {"noise": False, "weights.pt": False, "run.sh": True}
    assert b"echo\n" * 100 in unpack([pack]).values()


def test_only_what_is_missing_and_in_packs_of_a_size(tree: Tree, tmp_path: Path) -> None:
    some = sorted(tree.blobs)[:2]
    (pack,) = plan_packs(tree, [*some, "f" * 64], tmp_path / "tmp")
    assert set(unpack([pack])) == set(some)
    packs = all_packs(tree, tmp_path / "tmp", 1)
    assert len(packs) == len(tree.blobs)
    assert set(unpack(packs)) == set(tree.blobs)
    assert list(plan_packs(tree, [], tmp_path / "tmp")) == []


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"x" * 5000), lambda path: path.unlink()])
def test_a_file_changed_since_is_refused(tree: Tree, tmp_path: Path, change: object) -> None:
    assert callable(change)
    change(tmp_path / "code" / "noise")
    with pytest.raises(RefusedError, match="noise changed while it was being sent") as caught:
        all_packs(tree, tmp_path / "tmp")
    assert caught.value.hint == "Run submit again."


def test_a_symlink_put_in_its_place_is_not_followed(tree: Tree, tmp_path: Path) -> None:
    noise = tmp_path / "code" / "noise"
    shutil.move(noise, tmp_path / "elsewhere")
    noise.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError):
        all_packs(tree, tmp_path / "tmp")
