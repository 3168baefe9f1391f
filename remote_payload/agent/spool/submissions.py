"""What is queued: submissions and jobs as they stand on disk."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, cast

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic, finals, secrets
from remote_payload.agent.spool.fold import AttemptFacts, JobFacts, Retry, cancel_stands, fold, is_final
from remote_payload.agent.spool.locks import is_held
from remote_payload.agent.spool.paths import AttemptPaths, JobPaths, SpoolPaths, is_job_id, is_submission_id
from remote_payload.agent.wire.messages import JobSpec, Submission

_SUFFIX = ".json"


class Order(NamedTuple):
    """Where jobs stand in the queue: by time of submission, then as they were written."""

    submitted_at: float
    submission: str
    position: int


class Submissions:
    """All submissions of a spool, read once each: they never change after their rename.

    Those whose jobs are all over are read only when somebody asks for them.

    Args:
        paths: of the spool.

    Attributes:
        broken: files that cannot be used, with the sentence why.
    """

    def __init__(self, paths: SpoolPaths) -> None:
        self._paths = paths
        self._known: Dict[str, Submission] = {}
        self._jobs: Dict[str, Tuple[Order, JobSpec]] = {}
        self._stamp: Tuple[int, int] = (0, 0)
        self._past: Optional[finals.Past] = None
        self._shelf: Set[str] = set()
        self.broken: Dict[str, str] = {}

    def refresh(self) -> List[JobSpec]:
        """Look for new submissions; return their jobs, first come first, without those of old ones that are over."""
        try:
            status = os.stat(self._paths.submits)
            stamp = (status.st_mtime_ns, status.st_ino)
            # A folder changed within the clock's last tick may change again without a new time.
            settled = time.time_ns() - status.st_mtime_ns > 1_000_000_000
            if stamp == self._stamp:
                return []
            names = set(os.listdir(self._paths.submits))
        except FileNotFoundError:
            return []
        self._stamp = stamp if settled else (0, 0)
        if self._past is None:
            self._past = finals.load(self._paths)
            self._shelf = set(self._past.whole(self._paths))
        self._shelf = {each for each in self._shelf if each + _SUFFIX in names}
        new: List[JobSpec] = []
        for submission in self._read_new(names):
            new.extend(self._add(submission))
        return sorted(new, key=lambda spec: self._jobs[spec["id"]][0])

    def jobs(self) -> List[JobSpec]:
        """Return every job, first come first."""
        self._read_shelved(set(self._shelf))
        return [spec for _, spec in sorted(self._jobs.values(), key=lambda pair: pair[0])]

    def submissions(self) -> List[Submission]:
        """Return every submission, the newest first."""
        self._read_shelved(set(self._shelf))
        return self._newest_first()

    def recent(self, since: float) -> List[JobSpec]:
        """Look for new submissions; return the jobs that are not over, or ended at or after a time, newest first.

        Args:
            since: seconds since the epoch; infinity = only what is not over.
        """
        first = self._past is None
        self.refresh()
        # The first look has just found out what is over.
        past = self._past if first and self._past is not None else finals.load(self._paths)
        whole = past.whole(self._paths) if self._shelf else {}
        self._read_shelved({each for each in self._shelf if each not in whole or whole[each] >= since})
        found = [spec for submission in self._newest_first() for spec in submission["jobs"]]
        return [spec for spec in found if spec["id"] not in past.jobs or past.jobs[spec["id"]].ended_at >= since]

    def _newest_first(self) -> List[Submission]:
        return sorted(self._known.values(), key=lambda each: (each["created_at"], each["id"]), reverse=True)

    def find(self, job: str) -> Optional[JobSpec]:
        """Return a job, None when it is not here."""
        if job not in self._jobs and self._past is not None and job in self._past.jobs:
            self._read_shelved(self._shelf & {self._past.jobs[job].submission})
        pair = self._jobs.get(job)
        return pair[1] if pair else None

    def find_submission(self, submission: str) -> Optional[Submission]:
        """Return a submission, None when it is not here."""
        self._read_shelved(self._shelf & {submission})
        return self._known.get(submission)

    def _read_new(self, names: Set[str]) -> Iterator[Submission]:
        self.broken = {name: why for name, why in self.broken.items() if name in names}
        for gone in [known for known in self._known if known + _SUFFIX not in names]:
            for spec in self._known.pop(gone)["jobs"]:
                self._jobs.pop(spec["id"], None)
        for name in sorted(names):
            submission = name[: -len(_SUFFIX)] if name.endswith(_SUFFIX) else ""
            if is_submission_id(submission) and submission not in self._known and submission not in self._shelf:
                yield from self._read(submission)

    def _read(self, submission: str) -> Iterator[Submission]:
        name = submission + _SUFFIX
        try:
            yield read_submission(self._paths, submission)
            self.broken.pop(name, None)
        except AgentFault as fault:
            self.broken[name] = fault.message

    def _read_shelved(self, wanted: Set[str]) -> None:
        self._shelf -= wanted
        for each in sorted(wanted):
            for submission in self._read(each):
                self._add(submission)

    def _add(self, submission: Submission) -> List[JobSpec]:
        self._known[submission["id"]] = submission
        added = []
        for position, spec in enumerate(submission["jobs"]):
            if spec["id"] not in self._jobs:
                order = Order(float(spec["submitted_at"]), submission["id"], position)
                self._jobs[spec["id"]] = (order, spec)
                added.append(spec)
        return added


def read_submission(paths: SpoolPaths, submission: str) -> Submission:
    """Return a stored submission.

    Raises:
        AgentFault: not_found.
        SpoolFileError: its file was cut short or edited by hand.
    """
    path = paths.submission(submission)
    stored = atomic.read_json(path)
    if stored is None:
        raise AgentFault("not_found", "there is no submission {} on this host".format(submission))
    jobs = stored.get("jobs")
    if stored.get("id") != submission or not isinstance(jobs, list) or not all(map(_is_spec, jobs)):
        raise atomic.SpoolFileError(path, "it is not a submission")
    return cast(Submission, stored)


def load_job(paths: SpoolPaths, job: str) -> JobSpec:
    """Return one job without reading every submission.

    Raises:
        AgentFault: not_found.
        SpoolFileError: the submission's file cannot be used.
    """
    needle = '"{}"'.format(paths.job(job).id).encode("ascii")
    for name in _newest_first(paths.submits):
        data = atomic.read_bytes(os.path.join(paths.submits, name))
        if data is None or needle not in data:
            continue
        for spec in read_submission(paths, name[: -len(_SUFFIX)])["jobs"]:
            if spec["id"] == job:
                return spec
    raise AgentFault("not_found", "there is no job {} on this host".format(job))


def load_facts(
    paths: SpoolPaths, spec: JobSpec, waiting: Optional[Dict[str, Any]] = None, log_sizes: bool = False
) -> JobFacts:
    """Return everything the spool says of a job now.

    Args:
        paths: of the spool.
        spec: the job.
        waiting: what the keeper says of it, from `read_waiting`.
        log_sizes: also look how long each log is.

    Raises:
        SpoolFileError: one of its files cannot be used.
    """
    place = paths.job(spec["id"])
    cancel = atomic.read_json(place.cancel)
    retries = load_retries(place)
    attempts = tuple(_attempt(place.attempt(number), log_sizes) for number in place.attempt_numbers())
    return JobFacts(spec, cancel, retries, attempts, waiting)


def is_surely_over(paths: SpoolPaths, job: str) -> bool:
    """Tell, with three looks at folders and none into files, whether a job ended and nobody asked to try it again.

    False also when that is not sure: then `load_facts` and `fold` say it.
    """
    place = paths.job(job)
    numbers = place.attempt_numbers()
    return bool(numbers) and os.path.exists(place.attempt(numbers[-1]).end) and not place.retries()


def load_retries(place: JobPaths) -> Tuple[Retry, ...]:
    """Return the requests to try a job again, oldest first.

    Raises:
        SpoolFileError: one of them cannot be used.
    """
    retries = []
    for position, path in enumerate(place.retries()):
        said = atomic.read_json(path) or {}
        after = said.get("after")
        retries.append(Retry(float(said.get("at") or 0.0), after if isinstance(after, int) else position + 1))
    return tuple(sorted(retries))


def read_waiting(paths: SpoolPaths) -> Dict[str, Dict[str, Any]]:
    """Return why jobs wait, as the keeper last said; {} when it has not said anything usable."""
    try:
        said = atomic.read_json(paths.waiting)
    except AgentFault:
        return {}
    return {job: why for job, why in (said or {}).items() if is_job_id(job) and isinstance(why, dict)}


def is_cancelled(paths: SpoolPaths, job: str) -> bool:
    """Tell whether a cancel of a job stands: it is there, and no newer request to try again."""
    place = paths.job(job)
    return cancel_stands(atomic.read_json(place.cancel), load_retries(place))


def forget_secrets_if_final(paths: SpoolPaths, spec: JobSpec) -> None:
    """Remove a job's secrets when nothing of it will start by itself any more."""
    if is_final(fold(load_facts(paths, spec), time.time()).state):
        secrets.remove(paths, spec["id"])


def _attempt(place: AttemptPaths, log_sizes: bool) -> AttemptFacts:
    # First the lock, then the files: who let go of the lock had written its end before, so it is seen.
    alive = is_held(place.lock)
    size = _size(place.log) if log_sizes else 0
    start = atomic.read_json(place.start)
    end = atomic.read_json(place.end)
    return AttemptFacts(place.number, atomic.read_json(place.lease), start, end, alive, size)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _newest_first(folder: str) -> List[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX) and is_submission_id(entry.name[: -len(_SUFFIX)]):
                names.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    return [name for _, name in sorted(names, reverse=True)]


def _is_spec(spec: Any) -> bool:
    return isinstance(spec, dict) and is_job_id(spec.get("id")) and isinstance(spec.get("submitted_at"), (int, float))
