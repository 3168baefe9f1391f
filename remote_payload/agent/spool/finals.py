"""Which jobs are over: a cache that the keeper leaves behind, so that history costs little to pass over.

An entry counts only while the job's folder has the time it had then: whatever may bring the job back to life (a request
to try again, a cancel, a return from another host) puts a file there. Losing the cache loses nothing.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import SpoolPaths, is_submission_id


class Final(NamedTuple):
    """A job that is over: its folder's time in ns, when it ended (seconds since the epoch), whether it failed, and the
    submission's file it stands in."""

    folder_ns: int
    ended_at: float
    failed: bool
    submission: str


class Stamp(NamedTuple):
    """A submission's file as it was read: its time in ns, its bytes, and how many jobs stand in it."""

    mtime_ns: int
    size: int
    jobs: int


class Past(NamedTuple):
    """What is over. jobs: by id. submissions: the files they stand in, as they were read."""

    jobs: Dict[str, Final]
    submissions: Dict[str, Stamp]

    def whole(self, paths: SpoolPaths) -> Dict[str, float]:
        """Return {submission: when its last job ended} of files as they were, whose jobs are all over.

        They need not be read.
        """
        count: Dict[str, int] = {}
        last: Dict[str, float] = {}
        for final in self.jobs.values():
            count[final.submission] = count.get(final.submission, 0) + 1
            last[final.submission] = max(last.get(final.submission, 0.0), final.ended_at)
        return {
            submission: last[submission]
            for submission, stamp in self.submissions.items()
            if count.get(submission) == stamp.jobs and stamp_of(paths, submission, stamp.jobs) == stamp
        }

    def by_submission(self) -> Dict[str, List[str]]:
        """Return {submission: its jobs that are over}."""
        found: Dict[str, List[str]] = {}
        for job, final in self.jobs.items():
            found.setdefault(final.submission, []).append(job)
        return found


def stamp_of(paths: SpoolPaths, submission: str, jobs: int) -> Stamp:
    """Return the stamp of a submission's file as it is now; one that is gone has the time 0."""
    try:
        status = os.stat(paths.submission(submission))
    except OSError:
        return Stamp(0, 0, jobs)
    return Stamp(status.st_mtime_ns, status.st_size, jobs)


def load(paths: SpoolPaths) -> Past:
    """Return the jobs that are surely over still."""
    try:
        said: Mapping[str, Any] = atomic.read_json(paths.finals) or {}
    except AgentFault:
        said = {}
    jobs, files = said.get("jobs"), said.get("submissions")
    past = Past({}, {})
    if not isinstance(jobs, dict) or not isinstance(files, dict):
        return past
    times = folder_times(paths)
    for job, row in jobs.items():
        if _is_final(row) and times.get(job) == row[0]:
            past.jobs[job] = Final(row[0], float(row[1]), bool(row[2]), row[3])
    for submission, row in files.items():
        if is_submission_id(submission) and isinstance(row, list) and [type(each) for each in row] == [int] * 3:
            past.submissions[submission] = Stamp(*row)
    return past


def save(paths: SpoolPaths, past: Past) -> None:
    """Write the cache anew. Only the keeper does.

    Raises:
        OSError: it cannot be written.
    """
    jobs = {job: list(final) for job, final in past.jobs.items()}
    files = {submission: list(stamp) for submission, stamp in past.submissions.items()}
    atomic.write_json(paths.finals, {"jobs": jobs, "submissions": files})


def folder_times(paths: SpoolPaths) -> Dict[str, int]:
    """Return when each job's folder changed last, in ns, with one walk through one folder."""
    try:
        with os.scandir(paths.jobs) as entries:
            return {entry.name: entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries}
    except OSError:
        return {}


def _is_final(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 4 and isinstance(row[1], (int, float)) and isinstance(row[3], str)
