"""`orch status`: hosts, GPUs, live jobs and those of the last day, once or refreshed in place."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.api import Located, Orch
from orchestrator.api.find import newest_first
from orchestrator.api.queues import troubles
from orchestrator.api.status import HostStatus, StatusReport, status_report
from orchestrator.api.status_watch import StatusWatch
from orchestrator.cli.closing import KEPT, hints, progress_text, why
from orchestrator.cli.console import OUT, counted, duration, emit, plain, state_text, table
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS, drawn
from orchestrator.errors import EXIT_HOST, EXIT_INTERRUPT, EXIT_OK, UsageError
from remote_payload.agent.spool.states import FINAL_STATES, LIVE_STATES
from remote_payload.agent.wire.messages import GpuView

DAY = 86400.0
WIDE = 90
"""Columns of a terminal from which what is said of a job stands in its row."""
LINES_FROM = 11
"""From so many jobs of one submission on, it is one line."""


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line."""

    hosts: tuple[str, ...]
    states: tuple[str, ...]
    number: int
    watch: bool
    interval: float

    @property
    def whole(self) -> bool:
        """Whether jobs that ended long ago are wanted too."""
        return GLOBALS.json or bool(self.states)


def status(wish: Wish, accept_new: bool) -> int:
    """Do `orch status`."""
    _check_states(wish.states)
    with opened(accept_new=accept_new) as orch:
        if wish.watch:
            return _watch(orch, wish)
        report = status_report(orch, wish.hosts, since=None if wish.whole else time.time() - DAY)
        if GLOBALS.json:
            emit(as_json(report, wish.states))
        else:
            OUT.print(draw(report, wish))
        return EXIT_HOST if report.hosts and all(host.error for host in report.hosts) else EXIT_OK


def _check_states(states: Sequence[str]) -> None:
    known = sorted(LIVE_STATES | FINAL_STATES)
    for state in states:
        if state not in known:
            close = difflib.get_close_matches(state, known, 1)
            hint = f"Did you mean {close[0].lower()}?" if close else f"There are {', '.join(known).lower()}."
            raise UsageError(f"no state is called {state.lower()!r}", hint)


def _watch(orch: Orch, wish: Wish) -> int:
    """Redraw in place (a report after the other where there is no terminal) until Ctrl-C."""
    watch = StatusWatch(orch, wish.hosts, wish.interval, None if wish.whole else DAY)
    with ExitStack() as stack:
        stack.callback(watch.stop)
        live = None
        if OUT.is_terminal and not GLOBALS.json:
            live = Live(console=OUT, auto_refresh=False, screen=True)
            stack.enter_context(drawn(live))
        watch.start()
        try:
            while True:
                if live:
                    live.update(draw(watch.report(), wish), refresh=True)
                watch.wait(wish.interval)
                if live is None:
                    _print_round(watch, wish)
        except KeyboardInterrupt:
            return EXIT_INTERRUPT


def _print_round(watch: StatusWatch, wish: Wish) -> None:
    report = watch.report()
    if GLOBALS.json:
        emit(as_json(report, wish.states))
    else:
        OUT.print(draw(report, wish))
        OUT.print()


def as_json(report: StatusReport, states: Sequence[str] = ()) -> dict[str, Any]:
    """Return the documented JSON of status: every job of the project, live or ended, unless states were named."""
    jobs = [job for job in newest_first(report.jobs) if not states or job.view["state"] in states]
    return {
        "schema_version": 1,
        "hosts": [
            {
                "name": host.name,
                "reachable": host.error is None,
                "last_seen": host.last_seen,
                "error": host.error.message if host.error else None,
                "gpus": host.gpus["gpus"] if host.gpus else [],
                "paused": host.queue.paused is not None,
                "moved": host.queue.owner is not None,
                "broken": list(host.queue.broken),
            }
            for host in report.hosts
        ],
        "jobs": [job_json(job) for job in jobs],
    }


def job_json(job: Located) -> dict[str, Any]:
    """Return one job in the documented JSON."""
    view = job.view
    keys = (
        "id", "name", "project", "submission", "owner", "params", "state", "reason", "waiting_for", "attempt",
        "exit_code", "signal", "submitted_at", "started_at", "ended_at", "gpus", "progress", "path",
    )  # fmt: skip
    picked: dict[str, Any] = {key: view[key] for key in keys}  # type: ignore[literal-required]
    return {
        **picked,
        "hints": hints(view),
        "host": job.host,
        "cost": None,
        "seen_at": job.seen_at,
        "cancel_kept": job.cancel_kept,
    }


def draw(report: StatusReport, wish: Wish) -> Group:
    """Return the picture of a report."""
    parts: list[Table | Text | Group] = [_hosts(report.hosts), *_queues(report.hosts)]
    jobs = [job for job in newest_first(report.jobs) if _shown(job, wish)]
    first = _first_lines(jobs, wish.number)
    if jobs:
        parts += [Text(""), _jobs(first)]
    if len(jobs) > len(first):
        parts.append(Text(f"{counted(len(jobs) - len(first), 'more job')} (-n {len(jobs)} shows them)", style="dim"))
    if not jobs:
        parts.append(Text("No live job, and none in the last 24 hours.", style="dim"))
    return Group(*parts)


def _first_lines(jobs: Sequence[Located], number: int) -> list[Located]:
    """Return the jobs of the first so many lines; many jobs of one submission are one line together."""
    first: list[Located] = []
    for members in by_submission(jobs).values():
        if number <= 0:
            break
        together = len(members) >= LINES_FROM
        first += members if together else members[:number]
        number -= 1 if together else len(members)
    return first


def by_submission(jobs: Sequence[Located]) -> dict[str, list[Located]]:
    """Return the jobs of each submission, in the order given."""
    groups: dict[str, list[Located]] = {}
    for job in jobs:
        groups.setdefault(job.view["submission"], []).append(job)
    return groups


def _shown(job: Located, wish: Wish) -> bool:
    if wish.states:
        return job.view["state"] in wish.states
    return job.live or (job.view["ended_at"] or job.view["submitted_at"]) > time.time() - DAY


def _hosts(hosts: Sequence[HostStatus]) -> Table:
    rows: list[Sequence[object]] = []
    for host in hosts:
        if host.error:
            seen = f"last seen {duration(time.time() - host.last_seen)} ago" if host.last_seen else "never seen"
            rows.append((host.name, Text("unreachable", style="yellow"), "", "", "", f"{seen}; {host.error.message}"))
            continue
        if host.gpus is None:
            rows.append((host.name, Text("asking …", style="dim"), "", "", "", ""))
            continue
        gpus = host.gpus["gpus"]
        if not gpus:
            rows.append((host.name, Text("ok", style="green"), "no GPU", "", "", host.gpus["message"]))
        for n, gpu in enumerate(gpus):
            state = Text("ok", style="green") if n == 0 else Text("")
            rows.append((host.name if n == 0 else "", state, f"{gpu['index']} {gpu['name']}", *_gpu(gpu)))
    return table("", ("host", "", "gpu", "memory", "use", ""), rows)


def _queues(hosts: Sequence[HostStatus]) -> list[Text]:
    """Return what keeps a queue from going on, and the command that helps."""
    said = [(host.name, *trouble) for host in hosts for trouble in troubles(host.name, host.queue)]
    return [plain(f"{name}: {text} {remedy}", "yellow") for name, text, remedy in said]


def _gpu(gpu: GpuView) -> tuple[object, ...]:
    used, total = gpu["memory_used_mib"], gpu["memory_total_mib"]
    memory = f"{_or(used)} / {_or(total)} MiB"
    use = f"{_or(gpu['utilization_pct'])} %  {_or(gpu['temperature_c'])} °C  {_or(gpu['power_w'])} W"
    note = gpu["note"] or (f"job {gpu['leased_to']}" if gpu["leased_to"] else "")
    return memory, use, plain(note, "" if gpu["usable"] else "red")


def _or(value: object) -> str:
    return "?" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value)


def _jobs(jobs: Sequence[Located]) -> Group:
    """Return the table of jobs; where the terminal is narrow, what is said of each stands under it."""
    rows: list[Sequence[object]] = []
    for submission, members in by_submission(jobs).items():
        if len(members) >= LINES_FROM:
            rows.append(_line(submission, members))
        else:
            rows += [_row(job) for job in members]
    columns = ("job", "id", "state", "host", "gpu", "time", "")
    hinted = [plain(f"{job.view['name']}: {text}", "yellow") for job in jobs for text in hints(job.view)]
    if OUT.width >= WIDE:
        return Group(table("", columns, rows), *hinted)
    notes = [plain(f"  {row[0]}: {row[-1]}", "dim") for row in rows if row[-1]]
    for note in notes:
        note.no_wrap, note.overflow = False, "fold"
    return Group(table("", columns[:-1], [row[:-1] for row in rows]), *notes, *hinted)


def _line(submission: str, jobs: Sequence[Located]) -> Sequence[object]:
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.view["state"]] = counts.get(job.view["state"], 0) + 1
    text = ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items()))
    hosts = ", ".join(sorted({job.host for job in jobs}))
    return f"{jobs[0].view['job']} ({len(jobs)} jobs)", submission, "", hosts, "", "", text


def _row(job: Located) -> Sequence[object]:
    view = job.view
    spent = (view["ended_at"] or time.time()) - view["started_at"] if view["started_at"] else None
    params = " ".join(f"{key}={value}" for key, value in view["params"].items())
    notes = [params, progress_text(view) if job.live else "", why(view) if view["state"] != "RUNNING" else ""]
    if view["state"] == "SUCCEEDED":
        notes[2] = ""
    if job.seen_at:
        if job.cancel_kept:
            notes.append(KEPT)
        notes.append(f"seen {duration(time.time() - job.seen_at)} ago")
    gpus = ",".join(map(str, view["gpus"]))
    note = "  ".join(note for note in notes if note)
    return view["name"], view["id"], state_text(view["state"]), job.host, gpus, duration(spent), note
