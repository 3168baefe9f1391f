"""A job's state, folded from what its files say. Pure: no IO, importable anywhere.

Each file is written once, so any prefix of the writes folds to a state an observer may see (states.TRANSITIONS).
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, NamedTuple, Optional, Tuple

from remote_payload.agent.spool import states
from remote_payload.agent.wire.messages import JobSpec

ORPHANED = "orphaned"
"""Detail of an attempt whose supervisor is gone while the keeper has not yet ended what it left."""


MAX_RETRIES = 1000
MAX_BACKOFF = 1800.0
MAX_DOUBLINGS = 20


class Retry(NamedTuple):
    """A request to try again: when (seconds since the epoch), and after how many attempts."""

    at: float
    after: int


class AttemptFacts(NamedTuple):
    """One claimed try: its files (None where not written yet), whether its lock is held, its log's size in bytes."""

    number: int
    lease: Optional[Dict[str, Any]]
    start: Optional[Dict[str, Any]]
    end: Optional[Dict[str, Any]]
    alive: bool
    log_size: int = 0


class JobFacts(NamedTuple):
    """Everything the spool says of one job. waiting: the keeper's words on why it has not started, if any."""

    spec: JobSpec
    cancel: Optional[Dict[str, Any]] = None
    retries: Tuple[Retry, ...] = ()
    attempts: Tuple[AttemptFacts, ...] = ()
    waiting: Optional[Dict[str, Any]] = None


class JobState(NamedTuple):
    """What a job is now. attempt: the newest one's number, 0 before the first."""

    state: str
    reason: Optional[str]
    detail: str
    waiting_for: Optional[str]
    attempt: int


def attempts_allowed(facts: JobFacts) -> int:
    """Return how many tries the job may have by now: those asked for, and those its retry policy adds."""
    base = _asked_for(facts)
    return base + _automatic(facts, base)


def next_try_after(facts: JobFacts) -> float:
    """Return how many seconds after the end of the newest attempt the next may start: the policy's backoff, doubled
    with each try of its own, at most half an hour; 0.0 for a try that somebody asked for."""
    base = _asked_for(facts)
    number = facts.attempts[-1].number if facts.attempts else 0
    if number < base:
        return 0.0
    backoff = _number(_policy(facts).get("backoff"))
    return float(min(MAX_BACKOFF, max(0.0, backoff) * 2.0 ** min(number - base, MAX_DOUBLINGS)))


def _asked_for(facts: JobFacts) -> int:
    # A request counts from the attempts there were when it was made: a job cancelled before it ever started and then
    # retried gets one try, and so does one that two people retried at once.
    return max([1] + [retry.after + 1 for retry in facts.retries])


def _automatic(facts: JobFacts, base: int) -> int:
    """How many tries the policy adds after the base-th attempt. Two reboots in a row end it: the job may be why."""
    policy = _policy(facts)
    words = policy.get("on")
    covered = {reason for word in (words if isinstance(words, list) else []) for reason in _covered(word)}
    most = int(min(max(0.0, _number(policy.get("max"))), MAX_RETRIES))
    reasons = {each.number: _word((each.end or {}).get("reason")) for each in facts.attempts}
    added = 0
    while added < most and reasons.get(base + added) in covered:
        if {reasons.get(base + added), reasons.get(base + added - 1)} == {"host_rebooted"}:
            break
        added += 1
    return added


def _policy(facts: JobFacts) -> Dict[str, Any]:
    policy: Any = facts.spec.get("retry")
    return policy if isinstance(policy, dict) else {}


def _covered(word: Any) -> FrozenSet[str]:
    return states.RETRY_ON.get(word, frozenset()) if isinstance(word, str) else frozenset()


def cancel_stands(cancel: Optional[Dict[str, Any]], retries: Tuple[Retry, ...]) -> bool:
    """Tell whether a cancel stands, or a newer request to try again has made it void."""
    if cancel is None:
        return False
    return all(retry.at < _number(cancel.get("at")) for retry in retries)


def fold(facts: JobFacts, now: float) -> JobState:
    """Return what the job is.

    Args:
        facts: its attempts in order of their numbers.
        now: seconds since the epoch.
    """
    cancelled = cancel_stands(facts.cancel, facts.retries)
    last = facts.attempts[-1] if facts.attempts else None
    number = last.number if last else 0
    if last is not None and last.end is None:
        return JobState(attempt_state(last, cancelled), None, _live_detail(last), None, number)
    if last is not None and last.end is not None and number >= attempts_allowed(facts):
        reason = _word(last.end.get("reason")) or "unknown"
        return JobState(states.state_of(reason), reason, _word(last.end.get("detail")), None, number)
    if cancelled:
        detail = "" if last else "before it started"
        return JobState(states.CANCELLED, "cancelled_by_user", detail, None, number)
    waiting = facts.waiting or {}
    return JobState(
        states.PENDING, None, _word(waiting.get("detail")), _word(waiting.get("reason")) or "queued", number
    )


def attempt_state(attempt: AttemptFacts, cancelled: bool) -> str:
    """Return the state of one try.

    Args:
        attempt: what its files say.
        cancelled: whether a cancel of the job stands.
    """
    if attempt.end is not None:
        return states.state_of(_word(attempt.end.get("reason")) or "unknown")
    if cancelled:
        return states.CANCELLING
    return states.RUNNING if attempt.start is not None else states.STARTING


def is_final(state: str) -> bool:
    """Tell whether nothing more happens by itself."""
    return state in states.FINAL_STATES


def _live_detail(attempt: AttemptFacts) -> str:
    # Between the keeper's mkdir and its lock nobody is alive either: that is no orphan yet.
    return ORPHANED if not attempt.alive and attempt.start is not None else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
