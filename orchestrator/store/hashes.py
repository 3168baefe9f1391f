"""Digests of files that did not change, remembered by what stat says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orchestrator.store.file import StoreFile, plain


class HashRow(NamedTuple):
    """What is remembered of a file: its stat, then the digest and size of what is sent of it.

    script: it begins with `#!`. crlf: it is a script whose line ends were CRLF; digest and sent are of the LF form.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str
    sent: int
    script: bool
    crlf: bool


class HashStore(StoreFile):
    """The part of the store that is a cache of digests."""

    def cached_hashes(self, root: str) -> dict[str, HashRow]:
        """Return the digests remembered of files below a folder, by path relative to it."""
        rows = self.read(
            "SELECT path, size, mtime_ns, ctime_ns, inode, sha256, sent, script, crlf FROM hashes WHERE root = ?",
            (plain(root),),
        )
        return {
            path.decode("utf-8", "surrogateescape"): HashRow(
                size, mtime, ctime, int(inode), sha, sent, bool(script), bool(crlf)
            )
            for path, size, mtime, ctime, inode, sha, sent, script, crlf in rows
        }

    def save_hashes(self, root: str, changed: Mapping[str, HashRow], gone: Iterable[str]) -> None:
        """Remember digests of files below a folder and forget others."""
        key = plain(root)
        with self.write() as db:
            db.executemany("DELETE FROM hashes WHERE root = ? AND path = ?", [(key, _blob(path)) for path in gone])
            db.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                # An inode on Windows may pass SQLite's 63 bits, hence text.
                [(key, _blob(path), *row[:3], str(row.inode), *row[4:]) for path, row in changed.items()],
            )


def _blob(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
