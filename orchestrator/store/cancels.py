"""Cancels that wait: asked for while the host could not be reached, delivered by the next command that does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.store.hashes import HashStore


class KeptCancel(NamedTuple):
    """A cancel that waits.

    Args:
        host: the host's name when it was asked for.
        host_id: which machine that was, None when it was never reached.
        by: who asked, as hosts note it down.
    """

    job: str
    host: str
    host_id: str | None
    by: str


class CancelStore(HashStore):
    """The part of the store that keeps cancels."""

    def keep_cancels(self, host: str, jobs: Iterable[str], by: str) -> None:
        """Keep cancels for a host; on the disk when this returns. One that is kept already stays as it is."""
        with self.write(durable=True) as db:
            db.executemany(
                "INSERT OR IGNORE INTO cancels VALUES (?1, ?2, (SELECT host_id FROM hosts WHERE name = ?2), ?3, ?4)",
                [(job, host, by, time.time()) for job in jobs],
            )

    def kept_cancels(self, host: str, host_id: str | None = None) -> list[KeptCancel]:
        """Return the cancels kept for a host, under this name or for this machine."""
        rows = self.read(
            "SELECT job, host, host_id, by FROM cancels WHERE host = ?1 OR host_id = ?2 ORDER BY at, job",
            (host, host_id),
        )
        return [KeptCancel(*row) for row in rows]

    def drop_cancels(self, jobs: Iterable[str]) -> None:
        """Forget cancels: delivered, or not wanted any more."""
        with self.write(durable=True) as db:
            db.executemany("DELETE FROM cancels WHERE job = ?", [(job,) for job in jobs])
