"""From what people type (JOB) to the jobs meant, over all hosts that may hold them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.errors import UsageError
from remote_payload.agent.spool.states import LIVE_STATES
from remote_payload.agent.wire.messages import JobView

_ID = re.compile(r"[sj]-[a-z0-9]{1,32}")


@dataclass(frozen=True)
class Located:
    """A job and where it is.

    Args:
        seen_at: None for a fresh answer, else when the cached one was true (epoch seconds).
        cancel_kept: a cancel of it waits here for its host.
    """

    host: str
    view: JobView
    seen_at: float | None = None
    cancel_kept: bool = False

    @property
    def live(self) -> bool:
        """Whether the job has not reached a final state."""
        return self.view["state"] in LIVE_STATES


def newest_first(jobs: Iterable[Located]) -> list[Located]:
    """Return the jobs, newest submission first, cells of one submission in their order."""
    # sorted() is stable: cells of one submission, made at the same moment, keep the order they came in.
    return sorted(jobs, key=lambda job: -job.view["submitted_at"])


def each_once(jobs: Iterable[Located], sent_to: Callable[[str], str | None]) -> list[Located]:
    """Return each job once, where two names of the inventory lead to one machine.

    The host a job was moved to counts more than the one it left; then a fresh answer more than a cached one; then the
    name the job was sent to.

    Args:
        sent_to: host's name by job id, None when unknown.
    """
    found: dict[str, Located] = {}

    def rank(job: Located) -> tuple[bool, bool, bool]:
        return job.view["reason"] == "moved", job.seen_at is not None, sent_to(job.view["id"]) != job.host

    for job in jobs:
        other = found.setdefault(job.view["id"], job)
        if other is not job and rank(job) < rank(other):
            found[job.view["id"]] = job
    return list(found.values())


def match(words: Sequence[str], jobs: Sequence[Located]) -> list[Located]:
    """Return the jobs that the words name, each once.

    Args:
        words: ids or their unique prefixes, `train` (all cells of its newest submission), `train.3`, submission ids.
        jobs: every job in sight.

    Raises:
        UsageError: a word names nothing, or a prefix names several.
    """
    found: dict[str, Located] = {}
    ordered = newest_first(jobs)
    for word in words:
        for job in _match_one(word, ordered):
            found.setdefault(job.view["id"], job)
    return list(found.values())


def is_id(word: str) -> bool:
    """Return whether a word can only be the id of a job or submission, or the start of one."""
    return bool(_ID.fullmatch(word))


def _match_one(word: str, jobs: Sequence[Located]) -> list[Located]:
    if _ID.fullmatch(word):
        key = "submission" if word.startswith("s-") else "id"
        ids = {str(job.view[key]) for job in jobs if str(job.view[key]).startswith(word)}  # type: ignore[literal-required]
        if word in ids:
            ids = {word}
        if len(ids) > 1:
            raise UsageError(f"{word} could be any of {', '.join(sorted(ids)[:5])}", "Type a few more letters.")
        if ids:
            return [job for job in jobs if job.view[key] in ids]  # type: ignore[literal-required]
    named = [job for job in jobs if word in (job.view["job"], job.view["name"])]
    if named:
        newest = named[0].view["submission"]
        return [job for job in named if job.view["submission"] == newest]
    raise UsageError(f"no job is called {word!r} here", _nearest(word, jobs))


def _nearest(word: str, jobs: Sequence[Located]) -> str:
    names = {job.view["name"] for job in jobs} | {job.view["job"] for job in jobs} | {job.view["id"] for job in jobs}
    close = difflib.get_close_matches(word, sorted(names), 1)
    if close:
        return f"Did you mean {close[0]}?"
    return "`orch status` lists what there is; -A looks in all projects, -p NAME in another."


def newest_submission(jobs: Sequence[Located]) -> list[Located]:
    """Return the jobs of the newest submission in sight ([] when there is none)."""
    ordered = newest_first(jobs)
    return [job for job in ordered if job.view["submission"] == ordered[0].view["submission"]] if ordered else []
