"""Packs: many blobs in one file, with an index beside it. Stored once, checked blob by blob while they arrive."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zlib
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, cast

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import SpoolPaths, is_digest
from remote_payload.agent.wire.messages import PackEntry

MAX_INDEX = 256 * 1024 * 1024
"""Bytes of an unpacked index."""
_STEP = 1024 * 1024
_SHA_LENGTH = 64


class Blob(NamedTuple):
    """Where a blob lies: the pack, and offset, size and compression in it."""

    pack: str
    offset: int
    size: int
    packed: bool


class PackIndex:
    """Which blobs a spool holds. Indexes are read once each; packs are never changed.

    Args:
        paths: of the spool.
    """

    def __init__(self, paths: SpoolPaths) -> None:
        self._paths = paths
        self._blobs: Dict[str, Blob] = {}
        self._packs: Set[str] = set()

    def refresh(self) -> None:
        """Take in packs that came, forget those that went."""
        try:
            names = os.listdir(self._paths.packs)
        except FileNotFoundError:
            names = []
        there = {name[:-5] for name in names if name.endswith(".json") and is_digest(name[:-5])}
        if self._packs - there:
            self._packs, self._blobs = set(), {}
        for pack in sorted(there - self._packs):
            for entry in read_index(self._paths, pack):
                self._blobs[entry["h"]] = Blob(pack, entry["o"], entry["s"], entry["z"])
            self._packs.add(pack)

    def find(self, sha256: str) -> Optional[Blob]:
        """Return where a blob lies, None when it is not here."""
        return self._blobs.get(sha256)

    def missing(self, blobs: Iterable[str]) -> List[str]:
        """Return those of the blobs that are not here, each once, in order."""
        return [sha256 for sha256 in dict.fromkeys(blobs) if sha256 not in self._blobs]

    def packs_of(self, blobs: Iterable[str]) -> Set[str]:
        """Return the packs that hold the blobs."""
        return {self._blobs[sha256].pack for sha256 in blobs if sha256 in self._blobs}


def read_index(paths: SpoolPaths, pack: str) -> List[PackEntry]:
    """Return the index of a stored pack.

    Raises:
        SpoolFileError: it cannot be used.
    """
    path = paths.pack_index(pack)
    try:
        return check_index(atomic.read_value(path), None)
    except ValueError as error:
        raise atomic.SpoolFileError(path, str(error)) from error


def check_index(value: Any, size: Optional[int]) -> List[PackEntry]:
    """Let an index pass whose blobs lie one behind the other from the start of the pack to its end. Pure.

    Args:
        value: what JSON held.
        size: bytes of the pack; None = not known here.

    Raises:
        ValueError: a wrong type, a gap, an overlap, a wrong end.
    """
    if not isinstance(value, list):
        raise ValueError("the index of a pack is not a list")
    at = 0
    for entry in value:
        if not isinstance(entry, dict) or not is_digest(entry.get("h")) or len(entry["h"]) != _SHA_LENGTH:
            raise ValueError("the index of a pack has a blob without digest")
        if type(entry.get("o")) is not int or type(entry.get("s")) is not int or type(entry.get("z")) is not bool:
            raise ValueError("the index of a pack has a blob without place")
        if entry["o"] != at or entry["s"] < 0:
            raise ValueError("the blobs of a pack do not lie one behind the other")
        at += entry["s"]
    if size is not None and at != size:
        raise ValueError("the blobs of a pack are {} bytes, not {}".format(at, size))
    return cast(List[PackEntry], value)


class PackWriter:
    """Takes a pack's stream as it arrives: `index_size` bytes of zlib'd index, then `size` bytes of blobs.

    Args:
        paths: of the spool.
        size: bytes of the blob part.
        index_size: bytes of the packed index.
        sha256: of the whole stream; it names the pack.
    """

    def __init__(self, paths: SpoolPaths, size: int, index_size: int, sha256: str) -> None:
        self._paths = paths
        self._size = size
        self._index_size = index_size
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._taken = 0
        self._check: Optional[_BlobCheck] = None
        self._entries: List[PackEntry] = []
        self._path = os.path.join(paths.tmp, "pack-{}".format(uuid.uuid4().hex))
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def add(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            AgentFault: bad_request, when they are not what was announced.
            OSError: no room.
        """
        self._digest.update(data)
        view = memoryview(data)
        if len(self._head) < self._index_size:
            part = view[: self._index_size - len(self._head)]
            self._head += part
            view = view[len(part) :]
        if self._check is None and len(self._head) == self._index_size:
            self._entries = self._read_head()
            self._check = _BlobCheck(self._entries)
        if not view:
            return
        self._taken += len(view)
        if self._taken > self._size or self._check is None:
            raise AgentFault("bad_request", "the pack is longer than announced")
        self._check.add(bytes(view))
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> int:
        """Store the pack durably; return how many blobs it holds.

        Raises:
            AgentFault: bad_request, when it ended early or a digest is wrong.
            OSError: no room.
        """
        if self._check is None or self._taken != self._size:
            raise AgentFault("bad_request", "the pack is shorter than announced", "send it again")
        if self._digest.hexdigest() != self._sha256:
            raise AgentFault("bad_request", "the pack arrived damaged (wrong digest)", "send it again")
        self._check.finish()
        os.fsync(self._file)
        crash("pack.received")
        os.rename(self._path, self._paths.pack(self._sha256))
        crash("pack.stored")
        # The index last: a pack counts as here when its index is, and then its blobs are durable.
        atomic.write_json(self._paths.pack_index(self._sha256), self._entries)
        crash("pack.indexed")
        return len(self._entries)

    def close(self) -> None:
        """Drop what was not stored."""
        with contextlib.suppress(OSError):
            os.close(self._file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _read_head(self) -> List[PackEntry]:
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(bytes(self._head), MAX_INDEX)
            if not unpacker.eof:
                raise ValueError("the index of the pack is cut short or too large")
            return check_index(json.loads(text.decode("utf-8")), self._size)
        except (zlib.error, ValueError) as error:
            raise AgentFault("bad_request", str(error)) from error


class _BlobCheck:
    """Checks the digest of each blob of a pack while its bytes pass by."""

    def __init__(self, entries: List[PackEntry]) -> None:
        self._entries = entries
        self._at = 0
        self._begin()

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._left == 0:
                self._next()
                continue
            part = view[: self._left]
            self._left -= len(part)
            self._take(part)
            view = view[len(part) :]

    def finish(self) -> None:
        while self._at < len(self._entries):
            self._next()

    def _begin(self) -> None:
        self._digest = hashlib.sha256()
        entry = self._entries[self._at] if self._at < len(self._entries) else None
        self._left = entry["s"] if entry else 0
        self._unpacker = zlib.decompressobj() if entry and entry["z"] else None

    def _take(self, part: memoryview) -> None:
        if self._unpacker is None:
            self._digest.update(part)
            return
        for piece in _unpacked(self._unpacker, bytes(part)):
            self._digest.update(piece)

    def _next(self) -> None:
        entry = self._entries[self._at]
        whole = self._unpacker is None or self._unpacker.eof
        if not whole or self._digest.hexdigest() != entry["h"]:
            raise AgentFault("bad_request", "a file in the pack is not what its digest says", "submit again")
        self._at += 1
        self._begin()


def _unpacked(unpacker: Any, data: bytes) -> Iterator[bytes]:
    """Yield what zlib makes of `data` in bounded pieces: a few bytes may stand for gigabytes."""
    try:
        while data and not unpacker.eof:
            piece = unpacker.decompress(data, _STEP)
            data = unpacker.unconsumed_tail
            if piece:
                yield piece
    except zlib.error as error:
        raise AgentFault("bad_request", "a file in the pack cannot be unpacked") from error


class PackReader:
    """Reads blobs of stored packs; keeps the packs open until it is closed (a context manager)."""

    def __init__(self, paths: SpoolPaths) -> None:
        self._paths = paths
        self._files: Dict[str, int] = {}

    def __enter__(self) -> "PackReader":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}

    def copy(self, blob: Blob, sha256: str, sink: Callable[[bytes], None], size: int) -> None:
        """Hand a blob's content to `sink`, piece by piece, and check it.

        Args:
            blob: where it lies.
            sha256, size: what it must be.
            sink: takes bytes.

        Raises:
            AgentFault: internal, when the pack is gone or damaged; what went to `sink` is worthless then.
        """
        digest = hashlib.sha256()
        taken = 0
        try:
            for piece in self._pieces(blob):
                taken += len(piece)
                if taken > size:
                    break
                digest.update(piece)
                sink(piece)
        except AgentFault as fault:
            raise _damaged(blob, sha256) from fault
        if taken != size or digest.hexdigest() != sha256:
            raise _damaged(blob, sha256)

    def _pieces(self, blob: Blob) -> Iterator[bytes]:
        unpacker = zlib.decompressobj() if blob.packed else None
        for data in self._raw(blob):
            if unpacker is None:
                yield data
            else:
                yield from _unpacked(unpacker, data)

    def _raw(self, blob: Blob) -> Iterator[bytes]:
        descriptor = self._open(blob.pack)
        at, end = blob.offset, blob.offset + blob.size
        while at < end:
            data = os.pread(descriptor, min(_STEP, end - at), at)
            if not data:
                return
            at += len(data)
            yield data

    def _open(self, pack: str) -> int:
        descriptor = self._files.get(pack)
        if descriptor is None:
            try:
                descriptor = os.open(self._paths.pack(pack), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise AgentFault("internal", "the pack {} is gone".format(pack)) from None
            self._files[pack] = descriptor
        return descriptor


def _damaged(blob: Blob, sha256: str) -> AgentFault:
    return AgentFault(
        "internal",
        "the stored code is damaged: file {} in pack {}".format(sha256[:12], blob.pack[:12]),
        "submit again: it is sent anew once that pack is removed by `orch gc`",
    )


def in_pack_order(wanted: Iterable[Tuple[str, Blob]]) -> List[Tuple[str, Blob]]:
    """Return (digest, place) in the order the packs are best read. Pure."""
    return sorted(wanted, key=lambda pair: (pair[1].pack, pair[1].offset))
