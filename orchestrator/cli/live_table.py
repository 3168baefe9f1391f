"""What is drawn under the lines of a live view: the jobs that are not done, one line each, never more than fits."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from orchestrator.api import Located
from orchestrator.cli.closing import counts, progress_text, why
from orchestrator.cli.console import duration, plain, state_text, table
from remote_payload.agent.spool.states import FINAL_STATES

_ORDER = {"RUNNING": 0, "STARTING": 1, "CANCELLING": 1, "FAILED": 2, "LOST": 2, "PENDING": 3}
_ROOM = 3
"""Rows kept free for the table's head, its last line, and the newest message above it."""


def draw(
    jobs: Sequence[Located],
    *,
    console: Console,
    colours: dict[str, str],
    lost: Collection[str],
    partial: Callable[[str], str],
    everything: bool,
) -> RenderableType:
    """Return the picture.

    Args:
        jobs: all that are watched.
        colours: of the jobs' names, by id.
        lost: hosts without a connection.
        partial: a job's unfinished line, by id.
        everything: also jobs that have ended (the lines above do not tell), and a count of all.
    """
    shown = list(jobs) if everything else [job for job in jobs if job.view["state"] not in FINAL_STATES]
    if everything:
        shown.sort(key=lambda job: _ORDER.get(job.view["state"], 4))
    room = max(1, console.height - _ROOM)
    rows = [_row(job, colours, job.host in lost, partial(job.view["id"])) for job in shown[:room]]
    picture = table("", ("job", "state", "host", "gpu", "time", "progress"), rows, width=console.width)
    if not rows:
        return Text("")
    return Group(picture, Text(f"{len(jobs)} jobs: {counts(jobs)}", style="bold")) if everything else picture


def _row(job: Located, colours: dict[str, str], lost: bool, partial: str) -> Sequence[object]:
    view = job.view
    since = view["started_at"]
    spent = duration((view["ended_at"] or time.time()) - since) if since else ""
    gpus = ",".join(map(str, view["gpus"]))
    note = _note(job, lost, partial)
    return plain(view["name"], colours[view["id"]]), state_text(view["state"]), job.host, gpus, spent, note


def _note(job: Located, lost: bool, partial: str) -> str:
    view = job.view
    if lost:
        return "no connection; this is its last known state"
    if view["state"] in ("PENDING", "FAILED", "LOST"):
        return why(view)
    return (partial.strip() or progress_text(view)) if view["state"] not in FINAL_STATES else ""
