"""Which jobs are over: a cache that the keeper leaves behind, so that history costs little to pass over.

An entry counts only while the job's folder has the time it had then: whatever may bring the job back to life (a request
to try again, a cancel, a return from another host) puts a file there. Losing the cache loses nothing.
"""

from __future__ import annotations

import os
from typing import Dict, NamedTuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import SpoolPaths


class Final(NamedTuple):
    """A job that is over: its folder's time in ns, when it ended (seconds since the epoch), whether it failed."""

    folder_ns: int
    ended_at: float
    failed: bool


def load(paths: SpoolPaths) -> Dict[str, Final]:
    """Return the jobs that are surely over still, by id."""
    try:
        said = atomic.read_json(paths.finals) or {}
    except AgentFault:
        return {}
    times = folder_times(paths) if said else {}
    found: Dict[str, Final] = {}
    for job, row in said.items():
        if isinstance(row, list) and len(row) == 3 and isinstance(row[1], (int, float)) and times.get(job) == row[0]:
            found[job] = Final(row[0], float(row[1]), bool(row[2]))
    return found


def save(paths: SpoolPaths, finals: Dict[str, Final]) -> None:
    """Write the cache anew. Only the keeper does.

    Raises:
        OSError: it cannot be written.
    """
    atomic.write_json(paths.finals, {job: list(final) for job, final in finals.items()})


def folder_times(paths: SpoolPaths) -> Dict[str, int]:
    """Return when each job's folder changed last, in ns, with one walk through one folder."""
    try:
        with os.scandir(paths.jobs) as entries:
            return {entry.name: entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries}
    except OSError:
        return {}
