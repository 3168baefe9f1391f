"""How jobs ended: their last lines, why in a sentence, one row a job, where the results are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from rich.text import Text

from orchestrator.api import Located, Orch
from orchestrator.cli.console import ERR, complain, counted, duration, emit, near, state_text, table
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import HostError
from orchestrator.fetch.pull import PullReport
from orchestrator.watch.collapse import LineCollapser
from remote_payload.agent.spool.states import hint_sentence, sentence
from remote_payload.agent.wire.messages import JobView

SETUP = "env_building"
"""The waiting reason of a job whose setup runs; its progress is that of the setup."""
KEPT = "cancel waiting for the host"
"""Said of a job that was cancelled while its host could not be reached."""
LAST_LINES = 20
FAILURES_SHOWN = 5
"""Failed jobs whose last lines are shown; of more, only the reason."""
ROWS = 40
"""Rows of the closing table; of more jobs, those that did not succeed come first."""


def closing_table(
    jobs: Sequence[Located], reports: Mapping[str, PullReport], last_lines: Callable[[Located], Sequence[str]]
) -> None:
    """Say how it ended: failed jobs with their last lines and reason, then one row a job.

    Args:
        reports: what came home, by job id.
        last_lines: returns a job's last lines, or none where they were just shown.
    """
    if GLOBALS.json:
        for job in jobs:
            report = reports.get(job.view["id"])
            emit({"event": "end", "job": job.view, "host": job.host, "results": str(report.folder) if report else None})
        return
    failed = [job for job in jobs if job.view["state"] in ("FAILED", "LOST")]
    for n, job in enumerate(failed[:ROWS]):
        if n < FAILURES_SHOWN:
            for line in last_lines(job):
                ERR.print(Text("  " + line, style="dim"))
        complain(f"{job.view['name']}: {why(job.view)}", "bold red")
    if len(failed) > ROWS:
        complain(f"and {len(failed) - ROWS} more failed: orch status --state failed")
    if GLOBALS.quiet:
        return
    # sorted() is stable: within both groups the order stays.
    shown = sorted(jobs, key=lambda job: job.view["state"] == "SUCCEEDED") if len(jobs) > ROWS else jobs
    ERR.print(table("", ("job", "state", "exit", "time", "host", "results"), [_row(j, reports) for j in shown[:ROWS]]))
    if len(jobs) > ROWS:
        ERR.print(Text(f"{len(jobs)} jobs: {counts(jobs)}", style="bold"))


def _row(job: Located, reports: Mapping[str, PullReport]) -> Sequence[object]:
    view = job.view
    spent = duration(view["ended_at"] - view["started_at"]) if view["ended_at"] and view["started_at"] else ""
    report = reports.get(view["id"])
    where = f"{near(report.folder)} ({counted(report.files, 'file')})" if report else ""
    code = "" if view["exit_code"] is None else view["exit_code"]
    return view["name"], state_text(view["state"]), code, spent, job.host, where


def counts(jobs: Sequence[Located]) -> str:
    """Return how many jobs are in which state: 2 running, 5 pending."""
    order = ("RUNNING", "STARTING", "CANCELLING", "PENDING", "FAILED", "LOST", "CANCELLED", "SUCCEEDED")
    found = Counter(job.view["state"] for job in jobs)
    known = [state for state in order if state in found]
    return ", ".join(f"{found[state]} {state.lower()}" for state in [*known, *sorted(set(found) - set(order))])


def why(view: JobView) -> str:
    """Return in one sentence why a job is in its state."""
    text = sentence(view["reason"] or view["waiting_for"]) or view["state"].lower()
    if view["waiting_for"] == SETUP and view["progress"]:
        text += f" ({duration(setup_seconds(view))})"
        said = str(view["progress"].get("text", ""))
        return f"{text}: {said}" if said else text
    extra = []
    if view["exit_code"]:
        extra.append(f"exit code {view['exit_code']}")
    if view["signal"]:
        extra.append(f"signal {view['signal']}")
    if view["detail"]:
        extra.append(view["detail"])
    return text + (f" ({'; '.join(extra)})" if extra else "")


def hints(view: JobView) -> list[str]:
    """Return what is worth telling of a running job, in sentences."""
    # A view remembered from before hosts told of hints has none.
    return [hint_sentence(hint["key"], hint["words"]) for hint in view.get("hints") or ()]


def setup_seconds(view: JobView) -> int:
    """Return for how long a job's setup has run; 0 when the host does not say."""
    elapsed = (view["progress"] or {}).get("elapsed_s")
    return elapsed if isinstance(elapsed, int) else 0


def progress_text(view: JobView) -> str:
    """Return how far a running job is and how long it still takes, as its log tells; "" when it does not."""
    progress = view["progress"]
    if not progress or view["waiting_for"] == SETUP:
        return ""
    eta = progress.get("eta_s")
    return f"{progress.get('text', '')}{f', {duration(eta)} left' if eta else ''}"


def stored_lines(orch: Orch, job: Located) -> list[str]:
    """Return a job's last lines as the host has them; none when it cannot be asked."""
    with suppress(HostError):
        data = orch.link(job.host).read_log(job.view["id"], tail_lines=LAST_LINES).data
        collapser = LineCollapser()
        return [*collapser.feed(data), *collapser.finish()][-LAST_LINES:]
    return []
