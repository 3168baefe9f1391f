"""From the blobs a host lacks to packs: an index, then the blobs, ready to be sent in one stream each.

A pack's stream = `index_size` bytes of zlib'd JSON ([PackEntry]), then `size` bytes of blobs one after another.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO

from orchestrator.errors import RefusedError
from orchestrator.paths import orch_home, private_folder
from orchestrator.ship.hashing import open_plain, without_crlf
from orchestrator.ship.scan import Blob, Tree, shown
from remote_payload.agent.wire.messages import PackEntry

PACK_BYTES = 64 * 1024 * 1024
"""A pack is closed when it has grown to this (one larger blob makes a larger pack): what has arrived stays there when
an upload is cut, and a pack of this size need not touch the laptop's disk."""
CHUNK = 256 * 1024
PROBE = 64 * 1024
WORTH = 0.9
"""A blob is compressed when its first PROBE bytes shrink below this part."""
LEVEL = 1
SMALLEST = 128
"""Bytes; smaller blobs are not compressed."""
WORKERS = 2
GROUP_BLOBS = 256
GROUP_BYTES = 8 * 1024 * 1024
"""Blobs of so many bytes together are prepared side by side."""
COMPRESSED = (
    *(".7z", ".bz2", ".gz", ".lz4", ".tgz", ".whl", ".xz", ".zip", ".zst"),
    *(".gif", ".jpeg", ".jpg", ".mkv", ".mp3", ".mp4", ".png", ".webp"),
    *(".ckpt", ".npz", ".parquet", ".pt", ".pth", ".safetensors"),
)
"""Endings of files that are compressed already, or are weights, which do not shrink."""


class Pack:
    """One pack, built and hashed, kept in memory or in an unnamed temporary file until it is closed.

    Args:
        entries: its index.
        blobs: the file holding the blob part.
        size: bytes of the blob part.
    """

    def __init__(self, entries: list[PackEntry], blobs: IO[bytes], size: int) -> None:
        self.entries = entries
        self.size = size
        self._blobs = blobs
        self._index = zlib.compress(json.dumps(entries, separators=(",", ":")).encode("ascii"), 6)
        self.index_size = len(self._index)
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self.sha256 = digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole stream from its start, in pieces of at most 256 KB; may be called again."""
        yield self._index
        self._blobs.seek(0)
        while chunk := self._blobs.read(CHUNK):
            yield chunk

    def close(self) -> None:
        """Drop the bytes."""
        self._blobs.close()

    def __enter__(self) -> Pack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def plan_packs(
    tree: Tree, missing: Collection[str], tmp: Path | None = None, pack_bytes: int = PACK_BYTES
) -> Iterator[Pack]:
    """Yield the packs that hold the missing blobs, one at a time, each to be closed before the next is asked for.

    Args:
        tree: the frozen tree.
        missing: digests the host lacks; those of other trees are passed over.
        tmp: folder for packs too large for memory, by default under ORCH_HOME.
        pack_bytes: size at which a pack is closed.

    Raises:
        RefusedError: a file changed after it was frozen, or the laptop's disk is full.
    """
    wanted = sorted((sha for sha in set(missing) if sha in tree.blobs), key=lambda sha: tree.blobs[sha].name)
    folder = private_folder(tmp or orch_home() / "tmp")
    with ThreadPoolExecutor(WORKERS) as pool:
        at = 0
        while at < len(wanted):
            builder = _Builder(folder, pack_bytes)
            try:
                while at < len(wanted) and builder.size < pack_bytes:
                    group = _group(wanted[at:], tree, pack_bytes - builder.size)
                    builder.add_all(pool, [(sha, tree.blobs[sha]) for sha in group])
                    at += len(group)
                pack = Pack(builder.entries, builder.file, builder.size)
            except OSError as error:
                builder.file.close()
                hint = f"Make room for {folder} and run submit again."
                raise RefusedError(f"the pack to be sent cannot be built: {error.strerror}", hint) from error
            except BaseException:
                builder.file.close()
                raise
            yield pack


def _group(wanted: Sequence[str], tree: Tree, room: int) -> Sequence[str]:
    """Return the next blobs to be prepared side by side: small ones up to a group's size, or one large one."""
    taken = size = 0
    for sha in wanted[:GROUP_BLOBS]:
        size += tree.blobs[sha].size
        if taken and size > min(GROUP_BYTES, room):
            break
        taken += 1
    return wanted[:taken]


class _Builder:
    def __init__(self, folder: Path, memory: int) -> None:
        # Twice the limit: the last blob may overshoot it, and only a really large one should go through the disk.
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=2 * memory, dir=str(folder))  # noqa: SIM115
        self.entries: list[PackEntry] = []
        self.size = 0

    def add_all(self, pool: Executor, blobs: Sequence[tuple[str, Blob]]) -> None:
        """Add blobs; more than one are read and compressed side by side, so together they must fit into memory."""
        if len(blobs) == 1:
            self._add_large(*blobs[0])
            return
        share = -(-len(blobs) // WORKERS)
        shares = [blobs[at : at + share] for at in range(0, len(blobs), share)]
        prepared = chain.from_iterable(pool.map(_prepare_all, shares))
        for (sha, _), (data, packed) in zip(blobs, prepared, strict=True):
            self.entries.append({"h": sha, "o": self.size, "s": len(data), "z": packed})
            self._put(data)

    def _add_large(self, sha: str, blob: Blob) -> None:
        start = self.size
        digest = hashlib.sha256()
        with _opened(blob) as fd:
            first = os.read(fd, PROBE)
            packed = _may_shrink(blob) and len(zlib.compress(first, LEVEL)) < WORTH * len(first)
            squeeze = zlib.compressobj(LEVEL) if packed else None
            for data in _content(fd, first, blob):
                digest.update(data)
                self._put(squeeze.compress(data) if squeeze else data)
            if squeeze:
                self._put(squeeze.flush())
        if digest.hexdigest() != sha:
            raise _changed(blob)
        self.entries.append({"h": sha, "o": start, "s": self.size - start, "z": packed})

    def _put(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)


def _prepare_all(items: Sequence[tuple[str, Blob]]) -> list[tuple[bytes, bool]]:
    # Many to a thread at a time: handing them over one by one costs more than the work itself.
    return list(map(_prepare, items))


def _prepare(item: tuple[str, Blob]) -> tuple[bytes, bool]:
    """Read, check and perhaps compress one small blob."""
    sha, blob = item
    with _opened(blob) as fd:
        data = b"".join(_content(fd, os.read(fd, min(PROBE, blob.size + 1)), blob))
    if hashlib.sha256(data).hexdigest() != sha:
        raise _changed(blob)
    if _may_shrink(blob):
        if len(data) > PROBE and len(zlib.compress(data[:PROBE], LEVEL)) >= WORTH * PROBE:
            return data, False
        packed = zlib.compress(data, LEVEL)
        if len(packed) < WORTH * len(data):
            return packed, True
    return data, False


@contextmanager
def _opened(blob: Blob) -> Iterator[int]:
    try:
        fd = open_plain(blob.path)
    except OSError as error:
        raise _changed(blob) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _changed(blob: Blob) -> RefusedError:
    return RefusedError(f"{shown(blob.name)} changed while it was being sent", "Run submit again.")


def _content(fd: int, first: bytes, blob: Blob) -> Iterator[bytes]:
    if blob.crlf:
        rest = [first]
        while data := os.read(fd, CHUNK):
            rest.append(data)
        yield without_crlf(b"".join(rest))
        return
    yield first
    left = blob.size - len(first)
    while left > 0 and (data := os.read(fd, min(CHUNK, left))):
        left -= len(data)
        yield data
    if os.read(fd, 1):
        raise _changed(blob)


def _may_shrink(blob: Blob) -> bool:
    return blob.size >= SMALLEST and not blob.name.lower().endswith(COMPRESSED)
