"""`orch show`: everything known of one job, with why it waits or failed."""

from __future__ import annotations

import time
from datetime import datetime

from rich.text import Text

from orchestrator.api import Located
from orchestrator.cli.closing import KEPT, hints, why
from orchestrator.cli.console import OUT, duration, emit, plain, size, state_text, table
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.cli.status_view import job_json
from orchestrator.errors import EXIT_OK, UsageError
from remote_payload.agent.wire.messages import AttemptView


def show(word: str) -> int:
    """Do `orch show`."""
    with opened() as orch:
        jobs = orch.find([word])
        if len(jobs) > 1:
            names = ", ".join(job.view["name"] for job in jobs[:8])
            raise UsageError(f"{word} names {len(jobs)} jobs", f"Show one of them: {names}")
        if GLOBALS.json:
            emit({**job_json(jobs[0]), "detail": jobs[0].view["detail"], "attempts": jobs[0].view["attempts"]})
        else:
            _draw(jobs[0])
        return EXIT_OK


def _draw(job: Located) -> None:
    view = job.view
    OUT.print(Text(f"{view['name']}  ", style="bold") + plain(view["id"]) + Text("  ") + state_text(view["state"]))
    OUT.print(plain(why(view)))
    for text in hints(view):
        OUT.print(plain(text, "yellow"))
    rows: list[tuple[object, object]] = [
        ("host", job.host),
        ("project", view["project"]),
        ("submission", view["submission"]),
        ("submitted", f"{_clock(view['submitted_at'])} by {view['owner']}"),
    ]
    rows += [(f"matrix.{key}", value) for key, value in view["params"].items()]
    if job.seen_at:
        if job.cancel_kept:
            rows.append(("cancel", KEPT))
        rows.append(("seen", f"{duration(time.time() - job.seen_at)} ago; the host does not answer now"))
    rows.append(("workdir", view["path"]))
    OUT.print(table("", ("", ""), rows))
    for attempt in view["attempts"]:
        _attempt(attempt)
    OUT.print(Text(_next(job), style="dim"))


def _attempt(attempt: AttemptView) -> None:
    environment = attempt["environment"] or {}
    spent = None
    if attempt["started_at"]:
        spent = (attempt["ended_at"] or time.time()) - attempt["started_at"]
    rows = [
        ("state", state_text(attempt["state"])),
        ("reason", " ".join(filter(None, (attempt["reason"] or "", attempt["detail"])))),
        ("exit code", "" if attempt["exit_code"] is None else attempt["exit_code"]),
        ("signal", attempt["signal"] or ""),
        ("started", _clock(attempt["started_at"])),
        ("time", duration(spent)),
        ("GPUs", ", ".join(map(str, attempt["gpus"])) or "none"),
        ("Python", " ".join(str(environment.get(key, "")) for key in ("kind", "python", "version")).strip()),
        ("log", size(attempt["log_size"])),
    ]
    OUT.print(table(f"attempt {attempt['number']}", ("", ""), [row for row in rows if row[1] != ""]))


def _clock(at: float | None) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def _next(job: Located) -> str:
    view = job.view
    if job.live:
        return f"orch logs -f {view['id']}    orch cancel {view['id']}"
    return f"orch logs {view['id']}    orch pull {view['id']}    orch retry {view['id']}"
