"""A spool with a long past: jobs that ran once, copied from one that really did."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from bench.place import Place
from tests.harness.waiting import wait_until

PER_SUBMISSION = 100
JOB = "jobs:\n  t:\n    run: echo done\n    resources: {gpus: 0}\n    pull: never\n"


def add_finished(host: Place, count: int, days_ago: float = 30.0) -> None:
    """Put finished jobs into a host's spool, each a copy of one that is run now, with ids of its own.

    Args:
        host: with its agent there, nothing running.
        count: how many.
        days_ago: when they were submitted and ended.
    """
    _run_one(host)
    paths = host.spool
    newest = max(Path(paths.submits).glob("s-*.json"), key=lambda path: path.stat().st_mtime)
    sample = json.loads(newest.read_text())
    folder = Path(paths.job(sample["jobs"][0]["id"]).folder)
    for at in range(0, count, PER_SUBMISSION):
        _add_submission(host, sample, folder, min(PER_SUBMISSION, count - at), time.time() - days_ago * 86400 + at)
    # A keeper that was there when they ended has noted down that they are over; here the next one does.
    _run_one(host)


def _run_one(host: Place) -> None:
    host.project(JOB)
    host.orch("submit", "-d", "--again")
    host.orch("wait")
    host.quiet()


def _add_submission(host: Place, sample: dict[str, Any], folder: Path, count: int, at: float) -> None:
    submission = "s-" + uuid.uuid4().hex[:12]
    (spec,) = sample["jobs"]
    jobs = []
    for number in range(count):
        job = "j-" + uuid.uuid4().hex[:12]
        jobs.append({**spec, "id": job, "name": f"t.{number}", "submission": submission, "submitted_at": at})
        shutil.copytree(folder, Path(host.spool.jobs) / job, symlinks=True)
        end = Path(host.spool.attempt(job, 1).end)
        end.write_text(json.dumps({**json.loads(end.read_text()), "ended_at": at + 1}))
    stored = {**sample, "id": submission, "created_at": at, "jobs": jobs}
    beside = Path(host.spool.tmp) / f"{submission}.new"
    beside.write_text(json.dumps(stored))
    beside.rename(host.spool.submission(submission))


def start_sleeper(host: Place, gpus: int = 0) -> None:
    """Start a job that does nothing for long, and wait until it runs and its log was written."""
    mark = host.scratch / "sleeps"
    host.project(f"jobs:\n  sleeper:\n    run: |\n      touch {mark}\n      exec sleep 3600\n"
                 f"    resources: {{gpus: {gpus}}}\n    pull: never\n")  # fmt: skip
    host.orch("submit", "-d")
    wait_until(mark.exists, 60, "the sleeping job began")
