"""A spool as it lies on the disk, read without any of the agent's code, so that it cannot share its mistakes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COVERED = {
    "host": {"host_rebooted", "host_replaced", "supervisor_died", "spawn_failed"},
    "oom": {"out_of_memory"},
    "cuda": {"cuda_error"},
    "timeout": {"timeout", "no_output"},
    "exit": {"exit_nonzero", "signal"},
}
"""What the words of a retry policy stand for, as docs/jobs-yaml.md says it."""
CAME_TO_NOTHING = {"supervisor_died", "host_rebooted", "host_replaced", "cancelled_by_user", "timeout", "no_output"}
"""Ends after which nobody knows how far the job's own text came."""


@dataclass
class Attempt:
    """One try: its files, None where there is none."""

    number: int
    folder: Path
    lease: dict[str, Any] | None = None
    start: dict[str, Any] | None = None
    end: dict[str, Any] | None = None

    @property
    def reason(self) -> str:
        """Its end's reason, "" before."""
        return str((self.end or {}).get("reason", ""))


@dataclass
class Job:
    """One job: its spec, and what lies in its folder."""

    spec: dict[str, Any]
    folder: Path
    cancel: dict[str, Any] | None = None
    retries: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.spec["id"])

    @property
    def cancelled(self) -> bool:
        """Whether a cancel is newer than every request to try again."""
        return self.cancel is not None and all(each["at"] < self.cancel["at"] for each in self.retries)

    @property
    def moved(self) -> bool:
        """Whether it was given to another host, and did not come back."""
        return bool(self.attempts) and self.attempts[-1].reason == "moved" and self.over

    @property
    def over(self) -> bool:
        """Whether nothing more is to happen to it."""
        if self.attempts and self.attempts[-1].end is None:
            return False
        return self.cancelled or len(self.attempts) >= self._allowed()

    def _allowed(self) -> int:
        asked = max([1] + [int(each["after"]) + 1 for each in self.retries])
        policy = self.spec.get("retry") or {}
        covered = {reason for word in policy.get("on", ()) for reason in COVERED[word]}
        allowed = asked
        while allowed - asked < policy.get("max", 0) and len(self.attempts) >= allowed:
            last = self.attempts[allowed - 1].reason
            before = self.attempts[allowed - 2].reason if allowed > 1 else ""
            if last not in covered or last == before == "host_rebooted":
                break
            allowed += 1
        return allowed


@dataclass
class Spool:
    """Everything in one spool.

    Attributes:
        name: of its host.
        root: its folder.
        jobs: by id.
        broken: files that cannot be read whole.
    """

    name: str
    root: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def attempts(self) -> Iterator[tuple[Job, Attempt]]:
        """Yield every try of every job."""
        for job in self.jobs.values():
            for attempt in job.attempts:
                yield job, attempt


def read_spool(root: Path, name: str = "") -> Spool:
    """Read all of a spool's JSON files; one that is not whole is named, not raised."""
    spool = Spool(name, root)
    for path in sorted(root.rglob("*.json")):
        if "workdir" not in path.parts and "outputs" not in path.parts:
            load(path, spool.broken)
    for path in sorted((root / "submits").glob("*.json")):
        stored = load(path, [])
        for spec in (stored or {}).get("jobs", ()):
            if spec["id"] not in spool.jobs:
                spool.jobs[spec["id"]] = _job(spec, root / "jobs" / spec["id"])
    return spool


def load(path: Path, broken: list[str]) -> Any:
    """Return a file's JSON, None when it is not there or not whole; then it is named in `broken`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        broken.append(f"{path}: {error}")
        return None


def is_held(path: Path) -> bool:
    """Whether somebody holds an exclusive lock on a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _job(spec: dict[str, Any], folder: Path) -> Job:
    job = Job(spec, folder, load(folder / "cancel.json", []))
    job.retries = [said for path in sorted(folder.glob("retry-*.json")) if (said := load(path, []))]
    numbers = sorted(int(path.name) for path in (folder / "attempts").glob("*") if path.name.isdigit())
    for number in numbers:
        place = folder / "attempts" / str(number)
        files = [load(place / f"{name}.json", []) for name in ("lease", "start", "end")]
        job.attempts.append(Attempt(number, place, *files))
    return job
