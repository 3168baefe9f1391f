"""Reading files for good: the digest of what is sent, and how a file that changes meanwhile is noticed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from orchestrator.errors import RefusedError
from orchestrator.store.hashes import HashRow

CHUNK = 1024 * 1024
MAX_SCRIPT = 8 * 1024 * 1024
"""Bytes; a longer file is not looked at for CRLF."""
TRIES = 3
WORKERS = 4
LARGE = 1024 * 1024
"""Bytes from which on files are read several at once; handing a small one to a thread takes longer than reading it."""


class HashCache(Protocol):
    """Remembers digests of files that did not change; the store is one."""

    def cached_hashes(self, root: str) -> dict[str, HashRow]:
        """Return everything remembered below a root, by path relative to it."""
        ...

    def save_hashes(self, root: str, changed: Mapping[str, HashRow], gone: Iterable[str]) -> None:
        """Remember and forget."""
        ...


class NoCache:
    """Remembers nothing."""

    def cached_hashes(self, root: str) -> dict[str, HashRow]:
        """Return nothing."""
        return {}

    def save_hashes(self, root: str, changed: Mapping[str, HashRow], gone: Iterable[str]) -> None:
        """Do nothing."""


def open_plain(path: str) -> int:
    """Open a file for reading, never through a symlink and never waiting for a FIFO's writer.

    Raises:
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):
        flags |= getattr(os, name, 0)
    return os.open(path, flags)


def stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells one state of a file from another."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def without_crlf(data: bytes) -> bytes:
    """Return a script's bytes with LF line ends."""
    return data.replace(b"\r\n", b"\n")


def hash_file(path: str, shown: str) -> HashRow | None:
    """Read a file and return its row, or None when it is gone or no plain file any more.

    Args:
        path: the file.
        shown: its name in messages.

    Raises:
        OSError: it cannot be read.
        RefusedError: it keeps changing while it is read.
    """
    for _ in range(TRIES):
        try:
            fd = open_plain(path)
        except FileNotFoundError:
            return None
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                return None
            row = _digest(fd, before, path)
            if stamp(os.fstat(fd)) == stamp(before):
                return row
        finally:
            os.close(fd)
    hint = "Stop what writes to it, or leave it out with code.ignore."
    raise RefusedError(f"{shown} keeps changing while it is read", hint)


def _digest(fd: int, status: os.stat_result, path: str) -> HashRow:
    # Asking for a whole chunk makes room for one, which is most of the cost of reading a small file.
    data = os.read(fd, min(CHUNK, status.st_size + 1))
    script = data.startswith(b"#!")
    if (script or path.endswith(".sh")) and status.st_size <= MAX_SCRIPT:
        data = _read_rest(fd, data)
        if b"\r\n" in data and b"\0" not in data:
            fixed = without_crlf(data)
            return HashRow(*stamp(status), hashlib.sha256(fixed).hexdigest(), len(fixed), script, True)
    digest = hashlib.sha256(data)
    sent = len(data)
    while data and sent < status.st_size:
        data = os.read(fd, CHUNK)
        digest.update(data)
        sent += len(data)
    return HashRow(*stamp(status), digest.hexdigest(), sent, script, False)


def _read_rest(fd: int, data: bytes) -> bytes:
    parts = [data]
    while parts[-1]:
        parts.append(os.read(fd, CHUNK))
    return b"".join(parts)


class Hashed(NamedTuple):
    """Digests by path, and the files that could not be read, with why."""

    rows: dict[str, HashRow]
    unreadable: dict[str, str]


def hash_files(files: Mapping[str, str], sizes: Mapping[str, int]) -> Hashed:
    """Read many files, large ones several at once.

    Args:
        files: {path in the tree: path here}.
        sizes: their sizes as far as known, in bytes.

    Raises:
        RefusedError: one keeps changing while it is read.
    """
    found = Hashed({}, {})

    def one(item: tuple[str, str]) -> tuple[str, HashRow | None, str]:
        try:
            return item[0], hash_file(item[1], item[0]), ""
        except OSError as error:
            return item[0], None, error.strerror or str(error)

    large = {name for name in files if sizes.get(name, 0) >= LARGE}
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = pool.map(one, [(name, files[name]) for name in large])
        results = [one(item) for item in files.items() if item[0] not in large]
        results.extend(waiting)
    for name, row, why in results:
        if row:
            found.rows[name] = row
        elif why:
            found.unreadable[name] = why
    return found
