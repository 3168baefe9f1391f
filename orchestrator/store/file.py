"""The laptop's SQLite file: how it is made, brought up to date, read and written by many at once."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError

BUSY_MS = 15_000
"""How long one process waits for another one's write, in milliseconds."""

_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE submissions (
        id TEXT PRIMARY KEY, project TEXT NOT NULL, folder TEXT NOT NULL, created_at REAL NOT NULL, pid INTEGER NOT NULL
    );
    CREATE INDEX submissions_project ON submissions (project, created_at);
    CREATE TABLE parts (
        submission TEXT NOT NULL REFERENCES submissions (id) ON DELETE CASCADE, host TEXT NOT NULL,
        state TEXT NOT NULL, frozen TEXT NOT NULL, PRIMARY KEY (submission, host)
    ) WITHOUT ROWID;
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, submission TEXT NOT NULL REFERENCES submissions (id) ON DELETE CASCADE,
        name TEXT NOT NULL, host TEXT NOT NULL, fingerprint TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX jobs_submission ON jobs (submission);
    CREATE INDEX jobs_fingerprint ON jobs (fingerprint);
    CREATE TABLE views (
        id TEXT PRIMARY KEY, host TEXT NOT NULL, project TEXT NOT NULL, submission TEXT NOT NULL, state TEXT NOT NULL,
        submitted_at REAL NOT NULL, seen_at REAL NOT NULL, view TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX views_host ON views (host, project);
    CREATE TABLE hosts (
        name TEXT PRIMARY KEY, agent_hash TEXT, host_id TEXT, seen_at REAL NOT NULL, facts TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE hashes (
        root TEXT NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL, inode TEXT NOT NULL, sha256 TEXT NOT NULL, sent INTEGER NOT NULL,
        script INTEGER NOT NULL, crlf INTEGER NOT NULL, PRIMARY KEY (root, path)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE cancels (
        job TEXT PRIMARY KEY, host TEXT NOT NULL, host_id TEXT, by TEXT NOT NULL, at REAL NOT NULL
    ) WITHOUT ROWID;
    """,
)
"""Step n brings a store from user_version n to n + 1. Steps are only ever added."""


class StoreFile:
    """An open store.

    Args:
        path: the database file; made with mode 0600 when it is not there.

    Raises:
        UsageError: it cannot be opened, is damaged, or was made by a newer orch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._told():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file; the store is not used any more."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._use_wal()
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA synchronous = FULL")
        newest = len(_MIGRATIONS)
        if self._version() == newest:
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            version = self._version()
            if version > newest:
                raise UsageError(f"{self._path} was written by a newer orch", "Update orch: pip install -U orch-ssh")
            for step in _MIGRATIONS[version:]:
                for statement in filter(str.strip, step.split(";")):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {newest}")
        finally:
            self._db.execute("COMMIT" if self._version() == newest else "ROLLBACK")

    def _use_wal(self) -> None:
        # Two processes that make a new store at once collide here, and this one lock is not waited for by SQLite.
        deadline = time.monotonic() + BUSY_MS / 1000
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return a query's rows."""
        with self._lock, self._told():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Run one transaction; durable ones wait for the disk."""
        with self._lock, self._told():
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite and the system say into one sentence."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            text = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"the store {self._path} cannot be used: {text}", _hint(text, self._path)) from error


def _hint(text: str, path: Path) -> str:
    if "not a database" in text or "malformed" in text:
        return f"Move {path.name} away; hosts keep their jobs, and `orch status` finds them again."
    if "locked" in text:
        return "Another orch is busy with it; try again."
    return "See that its folder may be written and the disk has room."


def plain(text: object) -> str:
    """Return text that SQLite can hold: names and what hosts send may have bytes that are no text."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")
