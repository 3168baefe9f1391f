"""The IDX reader: what it reads, and what it refuses."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.train.digits.errors import InputError
from remote_payload.train.digits.idx import read_idx
from tests.unit.train.idx_files import idx_bytes


@pytest.mark.parametrize("packed", [False, True])
def test_reads_what_was_written(tmp_path: Path, packed: bool) -> None:
    content = idx_bytes((2, 2, 3), bytes(range(12)))
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if packed else content)
    idx = read_idx(path, 3)
    assert idx.dims == (2, 2, 3)
    assert idx.values == bytes(range(12))


GOOD = idx_bytes((4,), b"\1\2\3\4")
BAD = {
    "empty": (b"", "not an IDX file"),
    "text": (b"<html>not here</html>", "not an IDX file"),
    "other type": (idx_bytes((4,), b"\1\2\3\4", kind=13), "type 13"),
    "images for labels": (idx_bytes((1, 2, 2), b"\1\2\3\4"), "3 dimensions"),
    "cut in the header": (GOOD[:6], "ends inside its header"),
    "cut short": (GOOD[:-1], "only 3"),
    "too long": (GOOD + b"\5", "has more"),
    "no values": (idx_bytes((0,), b""), "cannot be"),
    "absurd size": (idx_bytes((0xFFFFFFFF,), b"\1"), "cannot be"),
    "gzip cut": (gzip.compress(GOOD)[:-6], "damaged gzip"),
    "gzip changed": (gzip.compress(GOOD)[:-5] + b"\xff" * 5, "damaged gzip"),
    "gzip head only": (b"\x1f\x8b", "damaged gzip"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_idx(path, 1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_sentences(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_idx(path, 1)


@given(content=st.binary(max_size=64), packed=st.booleans())
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(b"\x1f\x8b" + content if packed else content)
    try:
        idx = read_idx(path, 1)
    except InputError:
        return
    assert len(idx.values) == idx.dims[0]
