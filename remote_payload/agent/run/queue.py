"""What the keeper has to do: the jobs that are not final. Looking at them must not cost more as history grows."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from remote_payload.agent.run.keeperlog import KeeperLog
from remote_payload.agent.run.scheduler import WHOLE, Candidate, Waiting, demand
from remote_payload.agent.spool import atomic, fold, states, submissions
from remote_payload.agent.spool.finals import Final, Past, folder_times, load, save, stamp_of
from remote_payload.agent.spool.paths import SpoolPaths, is_submission_id
from remote_payload.agent.wire.messages import JobSpec, Submission

_SUFFIX = ".json"
SETTLED_NS = 100_000_000
"""A folder that changed less than this ago may change again without its time changing (clocks of file systems tick)."""


class _Done(NamedTuple):
    submission: str
    mtime_ns: int


class Stored(NamedTuple):
    """Where a job stands: in which submission's file, at which position, and when that was stored (s, epoch)."""

    submission: str
    order: int
    at: float


class Work:
    """One unfinished job, as its files said when they were last looked at."""

    def __init__(self, paths: SpoolPaths, spec: JobSpec, stored: "Stored") -> None:
        self._paths = paths
        self.spec = spec
        self.id = spec["id"]
        self.stored = stored
        self._folder = paths.job(self.id).folder
        self._mtime_ns: Optional[int] = None
        self.seen_ns = -1
        self.held: Optional[Waiting] = None
        self.held_until = 0.0
        self.group = group_of(spec)
        self._facts = fold.JobFacts(spec)
        self._state = fold.fold(self._facts, 0.0)
        self._due = ((0, 0), 0.0)
        self._priority = int(spec.get("priority") or 0)

    def look(self) -> None:
        """Read the job's files again, unless it waits and its folder is as it was.

        Raises:
            SpoolFileError: one of them cannot be used.
        """
        changed = _mtime_ns(self._folder)
        if self.pending and self._mtime_ns is not None and self._mtime_ns == changed:
            return
        self._facts = submissions.load_facts(self._paths, self.spec)
        self._state = fold.fold(self._facts, time.time())
        said = (atomic.read_json(self._paths.job(self.id).priority) or {}).get("priority")
        self._priority = int(self.spec.get("priority") or 0) if said is None else int(said)
        settled = time.time_ns() - changed > SETTLED_NS
        self._mtime_ns = changed if settled else None
        self.seen_ns = changed if settled else -1

    def stale(self) -> None:
        """Say that its files were changed: the next look reads them whatever their times say."""
        self._mtime_ns = None
        self.held = None

    @property
    def pending(self) -> bool:
        """Whether it waits to be started (for the first time or again)."""
        return self._state.state == states.PENDING

    @property
    def final(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return fold.is_final(self._state.state)

    @property
    def cancelled(self) -> bool:
        """Whether a cancel stands."""
        return fold.cancel_stands(self._facts.cancel, self._facts.retries)

    @property
    def live(self) -> bool:
        """Whether an attempt of it has, or may have, processes: it keeps its lease and its slot."""
        last = self._open_attempt()
        return last is not None and (last.alive or last.start is not None)

    @property
    def orphaned(self) -> bool:
        """Whether its newest attempt has no end and no supervisor."""
        last = self._open_attempt()
        return last is not None and not last.alive

    @property
    def attempt(self) -> int:
        """The newest attempt's number, 0 before the first."""
        return self._state.attempt

    @property
    def next_attempt(self) -> int:
        """The attempt to start: the next one, or the newest again when that one never started anything."""
        return self.attempt if self.orphaned else self.attempt + 1

    @property
    def start(self) -> Optional[Dict[str, Any]]:
        """The newest attempt's start.json."""
        return self._facts.attempts[-1].start if self._facts.attempts else None

    @property
    def since(self) -> float:
        """When it was asked for last, seconds since the epoch by this host's clock."""
        return max([self.stored.at, *(retry.at for retry in self._facts.retries)])

    def leased(self) -> Optional[Dict[str, int]]:
        """Return {uuid: hundredths} of the GPUs its open attempt has, None while its supervisor has not said so."""
        last = self._open_attempt()
        lease = last.lease if last is not None else None
        return {str(gpu["uuid"]): int(gpu.get("share", WHOLE)) for gpu in lease["gpus"]} if lease else None

    @property
    def ended_at(self) -> float:
        """When it ended or was cancelled, seconds since the epoch; 0.0 when nothing says."""
        last = self._facts.attempts[-1] if self._facts.attempts else None
        for said, name in ((last.end if last else None, "ended_at"), (self._facts.cancel, "at")):
            at = (said or {}).get(name)
            if isinstance(at, (int, float)):
                return float(at)
        return 0.0

    @property
    def failed(self) -> bool:
        """Whether it ended without success, and not because somebody wanted so."""
        return self._state.state in (states.FAILED, states.LOST)

    def candidate(self, blocked: Optional[Waiting]) -> Candidate:
        """Return it as the scheduler sees it.

        Raises:
            TypeError, ValueError: the spec holds odd values; here, so that the pick is not stopped by one job.
        """
        spec = self.spec
        gpus, share = demand(spec["gpus"])
        return Candidate(
            self.id,
            float(spec["submitted_at"]),
            self.stored.order,
            gpus,
            int(spec["gpu_memory_mib"] or 0),
            blocked,
            self._not_before(),
            self._priority,
            share,
            str(spec.get("gpu_type") or ""),
            self.group,
            int(spec.get("max_parallel") or 0),
        )

    def _not_before(self) -> float:
        """When its next try may start, by the monotonic clock. The host's clock may have been set meanwhile: a pause is
        never longer than the policy says, counted from when it was first seen."""
        key = (self.attempt, len(self._facts.retries))
        if self._due[0] != key:
            pause = fold.next_try_after(self._facts)
            end = self._facts.attempts[-1].end if self._facts.attempts else None
            ended = float((end or {}).get("ended_at") or 0.0)
            self._due = (key, time.monotonic() + min(pause, max(0.0, ended + pause - time.time())))
        return self._due[1]

    def _open_attempt(self) -> Optional[fold.AttemptFacts]:
        last = self._facts.attempts[-1] if self._facts.attempts else None
        return last if last is not None and last.end is None else None


class Queue:
    """The unfinished jobs of a spool.

    Args:
        paths: of the spool.
        log: where submissions that cannot be read are named.
        told: called with (group, job id, failed) for each job that was over before this keeper began.
    """

    def __init__(self, paths: SpoolPaths, log: KeeperLog, told: Callable[[str, str, bool], None]) -> None:
        self._paths = paths
        self._log = log
        self._told = told
        self._finals: Optional[Past] = None
        self._new_finals = False
        self._known: Set[str] = set()
        self._work: Dict[str, Work] = {}
        self._done: Dict[str, _Done] = {}
        self._unread: Set[str] = set()
        self._submits_mtime: Optional[int] = None

    @property
    def any(self) -> bool:
        """Whether some jobs are not final."""
        return bool(self._work)

    def unfinished(self) -> List[Work]:
        """Return the jobs that are not final."""
        return list(self._work.values())

    def holds(self, job: str) -> bool:
        """Whether a job is unfinished."""
        return job in self._work

    def get(self, job: str) -> Work:
        """Return one unfinished job."""
        return self._work[job]

    def finish(self, job: str) -> None:
        """Forget a job that is final until its folder changes (somebody asks to try again)."""
        work = self._work.pop(job)
        # The time from before its files were read: what changed since then is looked at again.
        self._done[job] = _Done(work.stored.submission, work.seen_ns)
        if work.seen_ns > 0:
            self._past().jobs[job] = Final(work.seen_ns, work.ended_at, work.failed, work.stored.submission)
            self._new_finals = True

    def remember(self) -> None:
        """Leave behind what is over, so that the next keeper need not read it. A full disk loses only that."""
        if self._new_finals:
            with contextlib.suppress(OSError):
                save(self._paths, self._past())
                self._new_finals = False

    def _past(self) -> Past:
        if self._finals is None:
            self._finals = load(self._paths)
        return self._finals

    def refresh(self, thorough: bool) -> None:
        """Take in what was stored since.

        Args:
            thorough: somebody poked, or this keeper has just begun: also look whether final jobs are to be tried again,
                which costs one stat for each job there ever was.
        """
        changed = _mtime_ns(self._paths.submits)
        if thorough or changed != self._submits_mtime:
            self._submits_mtime = changed
            new = [submission for submission in self._stored() if submission not in self._known]
            self._known.update(new)
            for submission in self._still_to_read(new):
                self._add(submission, None)
        if thorough:
            self._revive()
            for work in self._work.values():
                work.stale()

    def _still_to_read(self, new: List[str]) -> List[str]:
        """Return the submissions that must be read; of the others it is known that all their jobs are over."""
        if len(new) == 1:
            return new  # somebody has just stored it
        past = self._past()
        whole = past.whole(self._paths)
        jobs = past.by_submission()
        for submission in new:
            for job in jobs[submission] if submission in whole else ():
                self._done[job] = _Done(submission, past.jobs[job].folder_ns)
        self._unread.update(whole)
        return [submission for submission in new if submission not in whole]

    def _stored(self) -> List[str]:
        names = sorted(os.listdir(self._paths.submits))
        found = [name[: -len(_SUFFIX)] for name in names if name.endswith(_SUFFIX)]
        return [submission for submission in found if is_submission_id(submission)]

    def _revive(self) -> None:
        again: Dict[str, Set[str]] = {}
        times = folder_times(self._paths)
        for job, done in self._done.items():
            if times.get(job, 0) != done.mtime_ns:
                again.setdefault(done.submission, set()).add(job)
        for submission, jobs in again.items():
            self._add(submission, jobs)

    def _add(self, submission: str, only: Optional[Set[str]]) -> None:
        try:
            stored: Submission = submissions.read_submission(self._paths, submission)
        except Exception:  # one broken file must never stop the others
            self._log.trouble("{} cannot be read and is left alone".format(submission))
            return
        stamp = stamp_of(self._paths, submission, len(stored["jobs"]))
        self._past().submissions[submission] = stamp
        stored_at = stamp.mtime_ns / 1e9
        untold = submission in self._unread
        self._unread.discard(submission)
        for order, spec in enumerate(stored["jobs"]):
            past = self._past().jobs.get(spec["id"])
            if past is not None and (only is None or (untold and spec["id"] not in only)):
                self._done[spec["id"]] = _Done(submission, past.folder_ns)
                self._told(group_of(spec), spec["id"], past.failed)
            elif only is None or spec["id"] in only:
                self._past().jobs.pop(spec["id"], None)
                self._done.pop(spec["id"], None)
                self._work[spec["id"]] = Work(self._paths, spec, Stored(submission, order, stored_at))


def group_of(spec: JobSpec) -> str:
    """Return what names a job's cells together."""
    return "{}/{}".format(spec["submission"], spec["job"])


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
