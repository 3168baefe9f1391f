"""Jobs as people are shown them, read from the spool again only where something changed."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.progress import parse_progress
from remote_payload.agent.machine.text import neutralise
from remote_payload.agent.spool import atomic, gpu_use, states
from remote_payload.agent.spool.fold import (
    AttemptFacts,
    JobFacts,
    JobState,
    attempt_state,
    cancel_stands,
    fold,
    is_final,
    next_try_after,
)
from remote_payload.agent.spool.paths import EnvPaths, SpoolPaths
from remote_payload.agent.spool.submissions import load_facts, read_waiting
from remote_payload.agent.wire.messages import AttemptView, Hint, JobSpec, JobView

PROGRESS_TAIL = 8192
"""Bytes at the end of a log in which progress is looked for."""
SETUP_TAIL = 2048
SETUP_LINE = 200
"""Bytes at the end of a setup's log in which its last line is looked for; characters of it that are shown."""
PROGRESS_SECONDS = 1.0
"""A job's progress is looked for no more often than that."""
_SETTLED = 1_000_000_000
_UNREADABLE = "spool_file_broken"


class _Known(NamedTuple):
    signature: Tuple[Any, ...]
    facts: JobFacts
    env_digest: Optional[str]


class _Progress(NamedTuple):
    attempt: int
    log_size: int
    at: float
    said: Optional[Dict[str, Any]]


class Views:
    """Makes job views; remembers what it read of jobs whose files did not change since.

    Args:
        paths: of the spool.
        moved: it is another host's; then that is what its jobs wait for.
    """

    def __init__(self, paths: SpoolPaths, moved: bool = False) -> None:
        self._paths = paths
        self._moved = moved
        self._known: Dict[str, _Known] = {}
        self._progress: Dict[str, _Progress] = {}

    def facts(self, spec: JobSpec, waiting: Optional[Dict[str, Any]] = None) -> JobFacts:
        """Return what the spool says of a job now.

        Raises:
            SpoolFileError: one of its files cannot be used.
        """
        return self._look(spec)[0]._replace(waiting=waiting)

    def view(self, spec: JobSpec, waiting: Dict[str, Dict[str, Any]]) -> JobView:
        """Return a job as it is now. A job with a broken file is shown with the sentence about it.

        Args:
            spec: the job.
            waiting: from submissions.read_waiting.
        """
        try:
            facts, env_digest = self._look(spec)
        except AgentFault as fault:
            return _broken_view(self._paths, spec, fault.message)
        facts = facts._replace(waiting={"reason": "spool_moved"} if self._moved else waiting.get(spec["id"]))
        state = fold(facts, time.time())
        if state.waiting_for == "backoff":
            state = state._replace(detail=_next_try(facts, time.time()))
        if state.waiting_for == "env_building" and env_digest is not None:
            progress = setup_progress(self._paths.env(env_digest), time.time())
        else:
            progress = self._look_for_progress(facts, state)
        hints = self._hints(facts, state)
        return {**_job_view(self._paths, facts, state, env_digest), "progress": progress, "hints": hints}

    def views(self, specs: List[JobSpec]) -> List[JobView]:
        """Return several jobs as they are now."""
        waiting = read_waiting(self._paths)
        return [self.view(spec, waiting) for spec in specs]

    def _hints(self, facts: JobFacts, state: JobState) -> List[Hint]:
        last = facts.attempts[-1] if facts.attempts else None
        if state.state != states.RUNNING or last is None or not (last.lease or {}).get("gpus"):
            return []
        samples = gpu_use.read_tail(self._paths.attempt(facts.spec["id"], last.number).gpu_use)
        idle = gpu_use.unused(samples, time.time())
        return [{"key": "gpu_unused", "words": {"index": str(idle)}}] if idle is not None else []

    def _look_for_progress(self, facts: JobFacts, state: JobState) -> Optional[Dict[str, Any]]:
        job = facts.spec["id"]
        if state.state not in (states.RUNNING, states.CANCELLING) or not facts.attempts:
            self._progress.pop(job, None)
            return None
        known = self._progress.get(job)
        last, now = facts.attempts[-1], time.monotonic()
        same = known is not None and known.attempt == last.number
        if known is not None and same and (known.log_size == last.log_size or now - known.at < PROGRESS_SECONDS):
            return known.said
        said = _with_eta(parse_progress(read_tail(self._paths.attempt(job, last.number).log, PROGRESS_TAIL)), last)
        self._progress[job] = _Progress(last.number, last.log_size, now, said)
        return said

    def _look(self, spec: JobSpec) -> Tuple[JobFacts, Optional[str]]:
        known = self._known.get(spec["id"])
        signature = self._signature(spec["id"])
        if known is not None and signature is not None and known.signature == signature:
            return known.facts, known.env_digest
        facts = load_facts(self._paths, spec, log_sizes=True)
        # Not shown, and named when it is broken: the keeper sets the job aside for it.
        atomic.read_json(self._paths.job(spec["id"]).priority)
        digest = (atomic.read_json(self._paths.job(spec["id"]).env) or {}).get("digest")
        # Only what has ended stays as it is while its folders do.
        if signature is not None and all(attempt.end is not None for attempt in facts.attempts):
            self._known[spec["id"]] = _Known(signature, facts, digest)
        else:
            self._known.pop(spec["id"], None)
        return facts, digest

    def _signature(self, job: str) -> Optional[Tuple[Any, ...]]:
        """Return what changes whenever a file of the job comes or goes; None when it may have just changed."""
        place = self._paths.job(job)
        marks: List[Any] = []
        for folder in (place.folder, place.attempts):
            try:
                changed = os.stat(folder).st_mtime_ns
            except OSError:
                changed = 0
            # Clocks of file systems tick slowly: what changed a moment ago may change again unseen.
            if changed > time.time_ns() - _SETTLED:
                return None
            marks.append(changed)
        return tuple(marks)


def _job_view(paths: SpoolPaths, facts: JobFacts, state: JobState, env_digest: Optional[str]) -> JobView:
    spec = facts.spec
    cancelled = cancel_stands(facts.cancel, facts.retries)
    attempts = [attempt_view(attempt, cancelled) for attempt in facts.attempts]
    # A job that waits for another try has no end: what the last try left is in its attempt.
    last = attempts[-1] if attempts and state.state != states.PENDING else None
    return {
        **_spec_part(paths, spec),  # type: ignore[typeddict-item]
        "state": state.state,
        "reason": state.reason,
        "detail": state.detail,
        "waiting_for": state.waiting_for,
        "attempt": state.attempt,
        "attempts": attempts,
        "exit_code": last["exit_code"] if last else None,
        "signal": last["signal"] if last else None,
        "started_at": last["started_at"] if last else None,
        "ended_at": _ended_at(facts, state, last),
        "gpus": last["gpus"] if last and not is_final(state.state) else [],
        "progress": None,
        "env_digest": env_digest,
        "hints": [],
    }


def _ended_at(facts: JobFacts, state: JobState, last: Optional[AttemptView]) -> Optional[float]:
    if not is_final(state.state):
        return None
    if last is not None and last["ended_at"] is not None and last["state"] == state.state:
        return last["ended_at"]
    return _float((facts.cancel or {}).get("at"))


def _next_try(facts: JobFacts, now: float) -> str:
    ended = _float((facts.attempts[-1].end or {}).get("ended_at")) if facts.attempts else None
    left = (ended or now) + next_try_after(facts) - now
    return "attempt {} in {:.0f} s".format(facts.attempts[-1].number + 1 if facts.attempts else 1, max(0.0, left))


def attempt_view(attempt: AttemptFacts, cancelled: bool) -> AttemptView:
    """Return one try as people are shown it.

    Args:
        attempt: what its files say.
        cancelled: whether a cancel of the job stands.
    """
    start, end = attempt.start or {}, attempt.end or {}
    lease = (attempt.lease or {}).get("gpus")
    gpus = start.get("gpus") or [gpu.get("index") for gpu in lease or [] if isinstance(gpu, dict)]
    environment = start.get("environment")
    return {
        "number": attempt.number,
        "state": attempt_state(attempt, cancelled),
        "reason": end.get("reason"),
        "detail": str(end.get("detail") or ""),
        "exit_code": _int(end.get("exit_code")),
        "signal": _int(end.get("signal")),
        "started_at": _float(start.get("started_at")),
        "ended_at": _float(end.get("ended_at")),
        "gpus": [index for index in gpus if isinstance(index, int)],
        "log_size": attempt.log_size,
        "environment": environment if isinstance(environment, dict) else {},
    }


def setup_progress(place: EnvPaths, now: float) -> Optional[Dict[str, Any]]:
    """Return what a setup that runs is doing: the last line of its log, and the seconds since it was asked for."""
    try:
        since = os.stat(place.request).st_mtime
    except OSError:
        return None
    lines = neutralise(read_tail(place.log, SETUP_TAIL)).replace("\r", "\n").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return {"text": last[:SETUP_LINE], "elapsed_s": max(0, int(now - since))}


def read_tail(path: str, size: int) -> bytes:
    """Return the last bytes of a file, b"" when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, max(0, os.fstat(descriptor).st_size - size))
    finally:
        os.close(descriptor)


def _spec_part(paths: SpoolPaths, spec: JobSpec) -> Dict[str, Any]:
    kept = ("id", "name", "job", "project", "submission", "owner", "params", "submitted_at", "pull")
    part: Dict[str, Any] = {name: spec.get(name) for name in kept}
    part["path"] = paths.job(spec["id"]).folder
    return part


def _broken_view(paths: SpoolPaths, spec: JobSpec, why: str) -> JobView:
    state = JobState(states.PENDING, None, why, _UNREADABLE, 0)
    return _job_view(paths, JobFacts(spec), state, None)


def _with_eta(said: Optional[Dict[str, Any]], attempt: AttemptFacts) -> Optional[Dict[str, Any]]:
    """Add how long it still takes, in seconds, where the log itself does not tell: by the time spent so far.

    Only for a first attempt: a later one may have begun at a checkpoint, and a wrong number is worse than none.
    """
    started = _float((attempt.start or {}).get("started_at"))
    if said is None or said["eta_s"] is not None or not said["fraction"] or attempt.number != 1 or started is None:
        return said
    spent = time.time() - started
    return {**said, "eta_s": round(spent * (1 - said["fraction"]) / said["fraction"])} if spent > 0 else said


def _int(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> Optional[float]:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
