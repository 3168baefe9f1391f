"""What the laptop remembers, in one SQLite file: what it is about to send, what hosts last said, digests of files.

Submissions and ids are committed with synchronous=FULL before anything is sent. The rest is a cache of what hosts or
files say and is committed without waiting for the disk. Several processes and threads may use one store at once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.store.cancels import CancelStore
from orchestrator.store.file import plain
from remote_payload.agent.spool.states import LIVE_STATES
from remote_payload.agent.wire.messages import JobView, Submission

PLANNED, SENT, ACKED, DROPPED = "planned", "sent", "acked", "dropped"
_DAY = 86_400.0


class SubmissionRow(NamedTuple):
    """A submission as the laptop knows it. jobs and acked count jobs; hosts is {host: planned|sent|acked|dropped}."""

    id: str
    project: str
    folder: str
    created_at: float
    jobs: int
    acked: int
    hosts: dict[str, str]


class HostSeen(NamedTuple):
    """What a host last said of itself; seen_at in seconds since the epoch."""

    agent_hash: str | None
    host_id: str | None
    seen_at: float
    facts: dict[str, Any]


class Store(CancelStore):
    """The laptop's store.

    Args:
        path: the database file; made with mode 0600 when it is not there.

    Raises:
        UsageError: it cannot be opened, is damaged, or was made by a newer orch.
    """

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # what is sent

    def save_submission(
        self,
        sid: str,
        *,
        project: str,
        folder: str,
        created_at: float,
        jobs: Sequence[tuple[str, str, str, str]],
        frozen: Mapping[str, Submission],
    ) -> None:
        """Write down what is about to be sent; on the disk when this returns.

        Args:
            sid: the submission's id.
            folder: the project's folder here.
            jobs: (id, name, host, fingerprint) each.
            frozen: what goes to each host.
        """
        with self.write(durable=True) as db:
            db.execute(
                "INSERT INTO submissions VALUES (?, ?, ?, ?, ?)", (sid, project, folder, created_at, os.getpid())
            )
            db.executemany(
                "INSERT INTO parts VALUES (?, ?, ?, ?)",
                [(sid, host, PLANNED, json.dumps(part)) for host, part in frozen.items()],
            )
            # A job that moves to another host is known already.
            db.executemany(
                "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)",
                [(job, sid, name, host, fingerprint) for job, name, host, fingerprint in jobs],
            )

    def narrow(self, sid: str, host: str, part: Submission, stays: Mapping[str, str]) -> None:
        """Note which jobs of a submission really go to a host: those that were withdrawn where they waited before.

        Args:
            sid: the submission's id.
            host: where it goes.
            part: what goes there now. Without any job the part is dropped, else it counts as sent.
            stays: {job id: host} of the others.
        """
        state = SENT if part["jobs"] else DROPPED
        with self.write(durable=True) as db:
            db.execute(
                "UPDATE parts SET frozen = ?, state = ? WHERE submission = ? AND host = ?",
                (json.dumps(part), state, sid, host),
            )
            db.executemany("UPDATE jobs SET host = ? WHERE id = ?", [(where, job) for job, where in stays.items()])

    def mark(self, sid: str, host: str, state: str) -> None:
        """Note how far the part for one host is: planned, sent, acked or dropped."""
        if state not in (PLANNED, SENT, ACKED, DROPPED):
            raise ValueError(f"no such state: {state}")
        with self.write(durable=True) as db:
            db.execute("UPDATE parts SET state = ? WHERE submission = ? AND host = ?", (state, sid, host))

    def submissions(self, project: str | None = None, limit: int = 100) -> list[SubmissionRow]:
        """Return what was submitted from this laptop, newest first."""
        rows = self.read(
            "SELECT id, project, folder, created_at FROM submissions WHERE ?1 IS NULL OR project = ?1 "
            "ORDER BY created_at DESC, id LIMIT ?2",
            (project, limit),
        )
        return [self._submission(*row) for row in rows]

    def interrupted(self, project: str | None = None) -> list[SubmissionRow]:
        """Return submissions that some host has not acknowledged and nobody is sending any more, newest first."""
        rows = self.read(
            "SELECT id, project, folder, created_at, pid FROM submissions WHERE (?1 IS NULL OR project = ?1) AND id IN "
            "(SELECT submission FROM parts WHERE state IN ('planned', 'sent')) ORDER BY created_at DESC, id",
            (project,),
        )
        return [self._submission(*row[:4]) for row in rows if not _being_sent(row[4], row[3])]

    def frozen(self, sid: str) -> dict[str, Submission]:
        """Return what a submission sends to each host, for finishing an interrupted one ({} when it is unknown)."""
        rows = self.read("SELECT host, frozen FROM parts WHERE submission = ? ORDER BY host", (sid,))
        return {host: json.loads(text) for host, text in rows}

    def host_of(self, job: str) -> str | None:
        """Return the host a job of this laptop was sent to or last seen on, None when it is unknown."""
        rows = self.read(
            "SELECT host FROM views WHERE id = ?1 UNION ALL SELECT host FROM jobs WHERE id = ?1 LIMIT 1", (job,)
        )
        return rows[0][0] if rows else None

    def sent_to(self, job: str) -> str | None:
        """Return the host this laptop sent a job to, None when another one did."""
        rows = self.read("SELECT host FROM jobs WHERE id = ?", (job,))
        return rows[0][0] if rows else None

    def secrets_of(self, job: str, host: str) -> set[str]:
        """Return the names of the secrets that this laptop sent to a host with a job."""
        rows = self.read(
            "SELECT parts.frozen FROM jobs "
            "JOIN parts ON parts.submission = jobs.submission AND parts.host = jobs.host "
            "WHERE jobs.id = ? AND jobs.host = ?",
            (job, host),
        )
        specs = [spec for (text,) in rows for spec in json.loads(text)["jobs"] if spec["id"] == job]
        return {secret["name"] for spec in specs for secret in spec["secrets"]}

    def live_twins(self, project: str, fingerprints: Iterable[str]) -> list[str]:
        """Return the ids of acknowledged jobs that, as far as known, still live and do what one of these would do."""
        wanted = set(fingerprints)
        rows = self.read(
            "SELECT jobs.id, jobs.fingerprint, views.state FROM jobs "
            "JOIN submissions ON submissions.id = jobs.submission "
            "JOIN parts ON parts.submission = jobs.submission AND parts.host = jobs.host "
            "LEFT JOIN views ON views.id = jobs.id WHERE submissions.project = ? AND parts.state = 'acked' "
            "ORDER BY created_at DESC, jobs.id",
            (project,),
        )
        return [
            job for job, fingerprint, state in rows if fingerprint in wanted and (state or "PENDING") in LIVE_STATES
        ]

    def _submission(self, sid: str, project: str, folder: str, created_at: float) -> SubmissionRow:
        hosts = dict(self.read("SELECT host, state FROM parts WHERE submission = ?", (sid,)))
        jobs = self.read("SELECT host, count(*) FROM jobs WHERE submission = ? GROUP BY host", (sid,))
        acked = sum(count for host, count in jobs if hosts.get(host) == ACKED)
        return SubmissionRow(sid, project, folder, created_at, sum(count for _, count in jobs), acked, hosts)

    # what hosts said

    def save_views(self, host: str, views: Iterable[JobView], seen_at: float) -> None:
        """Keep what a host says of its jobs; what is newer stays.

        Args:
            seen_at: when it was true, seconds since the epoch.
        """
        rows = [
            (
                *map(plain, (v["id"], host, v["project"], v["submission"], v["state"])),
                v["submitted_at"],
                seen_at,
                json.dumps(v),
            )
            for v in views
        ]
        if not rows:
            return
        with self.write() as db:
            db.executemany(
                "INSERT INTO views VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "host = excluded.host, project = excluded.project, submission = excluded.submission, "
                "state = excluded.state, submitted_at = excluded.submitted_at, seen_at = excluded.seen_at, "
                "view = excluded.view "
                "WHERE excluded.seen_at >= views.seen_at",
                rows,
            )

    def cached_views(self, host: str | None = None, project: str | None = None) -> list[tuple[str, JobView, float]]:
        """Return (host, view, when it was true), newest submission first, cells in their order."""
        rows = self.read(
            "SELECT host, view, seen_at FROM views WHERE (?1 IS NULL OR host = ?1) AND (?2 IS NULL OR project = ?2) "
            "ORDER BY submitted_at DESC",
            (host, project),
        )
        return [(name, json.loads(text), seen_at) for name, text, seen_at in rows]

    def forget_views(self, jobs: Iterable[str]) -> None:
        """Forget jobs that a host has no more."""
        with self.write() as db:
            db.executemany("DELETE FROM views WHERE id = ?", [(job,) for job in jobs])

    def host_seen(self, name: str) -> HostSeen | None:
        """Return what is remembered of a host, None when it was never reached."""
        rows = self.read("SELECT agent_hash, host_id, seen_at, facts FROM hosts WHERE name = ?", (name,))
        return next((HostSeen(agent, ident, at, json.loads(facts)) for agent, ident, at, facts in rows), None)

    def note_host(
        self,
        name: str,
        *,
        agent_hash: str | None = None,
        host_id: str | None = None,
        seen_at: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Remember what a host said; what is None stays as it was (seen_at: now)."""
        text = None if facts is None else json.dumps(dict(facts))
        with self.write() as db:
            db.execute(
                "INSERT INTO hosts VALUES (?1, ?2, ?3, ?4, coalesce(?5, '{}')) ON CONFLICT (name) DO UPDATE SET "
                "agent_hash = coalesce(?2, agent_hash), host_id = coalesce(?3, host_id), seen_at = ?4, "
                "facts = coalesce(?5, facts)",
                (name, agent_hash, host_id, time.time() if seen_at is None else seen_at, text),
            )

    def rename_host(self, old: str, new: str) -> None:
        """Carry over everything known of a host to its new name."""
        with self.write(durable=True) as db:
            db.execute("UPDATE OR REPLACE hosts SET name = ? WHERE name = ?", (new, old))
            db.execute("UPDATE OR REPLACE parts SET host = ? WHERE host = ?", (new, old))
            for table in ("jobs", "views", "cancels"):
                db.execute(f"UPDATE {table} SET host = ? WHERE host = ?", (new, old))

    def forget_host(self, name: str) -> None:
        """Forget what a host said of itself and its jobs."""
        with self.write() as db:
            db.execute("DELETE FROM hosts WHERE name = ?", (name,))
            db.execute("DELETE FROM views WHERE host = ?", (name,))


def _being_sent(pid: int, created_at: float) -> bool:
    """Whether the process that made a submission may still be sending it."""
    if pid == os.getpid() or time.time() - created_at > _DAY or os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
