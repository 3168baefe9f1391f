from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.packs import PackIndex, PackReader, PackWriter, check_index
from tests.unit.agent.spool.builder import Builder, pack_parts, sha


def write(spool: Builder, index: bytes, stream: bytes, name: str = "", size: int | None = None, step: int = 7) -> int:
    whole = index + stream
    writer = PackWriter(spool.paths, len(stream) if size is None else size, len(index), name or sha(whole))
    try:
        for at in range(0, len(whole), step):
            writer.add(whole[at : at + step])
        return writer.finish()
    finally:
        writer.close()


def content(spool: Builder, digest: str, size: int) -> bytes:
    index = PackIndex(spool.paths)
    index.refresh()
    blob = index.find(digest)
    assert blob is not None
    got = bytearray()
    with PackReader(spool.paths) as reader:
        reader.copy(blob, digest, got.extend, size)
    return bytes(got)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(blobs=st.lists(st.binary(max_size=300), unique=True, max_size=6), packed=st.booleans(), step=st.integers(1, 99))
def test_blobs_come_back_however_the_stream_was_cut(
    spool: Builder, blobs: list[bytes], packed: bool, step: int
) -> None:
    index, stream = pack_parts(blobs, packed)
    assert write(spool, index, stream, step=step) == len(blobs)
    for data in blobs:
        assert content(spool, sha(data), len(data)) == data
    assert os.listdir(spool.paths.tmp) == []


def test_the_index_sees_packs_come_and_go(spool: Builder) -> None:
    index = PackIndex(spool.paths)
    index.refresh()
    assert index.missing([sha(b"a"), sha(b"a")]) == [sha(b"a")]
    first, second = spool.put(b"a", b"b"), spool.put(b"c")
    index.refresh()
    assert index.missing([sha(b"a"), sha(b"c")]) == []
    assert index.packs_of([sha(b"b"), sha(b"x")]) == {first}
    os.unlink(spool.paths.pack_index(second))
    index.refresh()
    assert index.missing([sha(b"a"), sha(b"c")]) == [sha(b"c")]


def entry(data: bytes, offset: int, size: int | None = None, **changes: object) -> dict[str, object]:
    return {"h": sha(data), "o": offset, "s": len(data) if size is None else size, "z": False, **changes}


@pytest.mark.parametrize(
    "entries",
    [
        {},
        [1],
        [entry(b"ab", 1)],
        [entry(b"ab", 0), entry(b"cd", 1)],
        [entry(b"ab", 0), entry(b"cd", 3)],
        [entry(b"abcd", 0, -1)],
        [entry(b"abcd", 0, h="../../x")],
        [entry(b"abcd", 0, z=1)],
        [entry(b"abcd", True)],
        [entry(b"abc", 0)],
    ],
)
def test_a_wrong_index_is_refused(spool: Builder, entries: object) -> None:
    with pytest.raises(ValueError):
        check_index(entries, 4)
    with pytest.raises(AgentFault) as caught:
        write(spool, zlib.compress(json.dumps(entries).encode()), b"abcd")
    assert caught.value.code == "bad_request"
    assert os.listdir(spool.paths.packs) == os.listdir(spool.paths.tmp) == []


def test_damage_on_the_way_is_refused(spool: Builder) -> None:
    index, stream = pack_parts([b"hello", b"world"], packed=False)
    wrongs: list[Callable[[], int]] = [
        lambda: write(spool, index, stream[:-1], size=len(stream)),
        lambda: write(spool, index, stream + b"x", size=len(stream)),
        lambda: write(spool, index, stream, name="0" * 64),
        lambda: write(spool, index, b"jello" + stream[5:]),
        lambda: write(spool, b"nonsense", stream),
        lambda: write(spool, index[:-3], stream),
    ]
    for wrong in wrongs:
        with pytest.raises(AgentFault) as caught:
            wrong()
        assert caught.value.code == "bad_request"
    assert os.listdir(spool.paths.packs) == os.listdir(spool.paths.tmp) == []


def test_what_does_not_unpack_is_refused(spool: Builder) -> None:
    for stored in (b"no zlib", zlib.compress(b"data")[:-2], zlib.compress(b"other")):
        index = zlib.compress(json.dumps([{"h": sha(b"data"), "o": 0, "s": len(stored), "z": True}]).encode())
        with pytest.raises(AgentFault):
            write(spool, index, stored)


def test_a_damaged_disk_is_noticed_when_read(spool: Builder) -> None:
    name = spool.put(b"hello", packed=False)
    with pytest.raises(AgentFault):
        content(spool, sha(b"hello"), 4)
    Path(spool.paths.pack(name)).write_bytes(b"jello")
    with pytest.raises(AgentFault) as caught:
        content(spool, sha(b"hello"), 5)
    assert "damaged" in caught.value.message
    os.unlink(spool.paths.pack(name))
    with pytest.raises(AgentFault):
        content(spool, sha(b"hello"), 5)
