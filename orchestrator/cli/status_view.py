"""`orch status`: hosts, GPUs, live jobs and those of the last day, once or refreshed in place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.api import Located
from orchestrator.api.find import newest_first
from orchestrator.api.status import HostStatus, StatusReport, status_report
from orchestrator.cli.console import OUT, duration, emit, plain, state_text, table
from orchestrator.cli.live import why
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_INTERRUPT, EXIT_OK
from remote_payload.agent.wire.messages import GpuView

DAY = 86400.0
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


def status(wish: Wish, accept_new: bool) -> int:
    """Do `orch status`."""
    with opened(accept_new=accept_new) as orch:
        if not wish.watch:
            report = status_report(orch, wish.hosts)
            if GLOBALS.json:
                emit(as_json(report))
            else:
                OUT.print(draw(report, wish))
            return EXIT_HOST if report.hosts and all(host.error for host in report.hosts) else EXIT_OK
        try:
            with Live(console=OUT, auto_refresh=False, screen=OUT.is_terminal) as live:
                while True:
                    live.update(draw(status_report(orch, wish.hosts), wish), refresh=True)
                    time.sleep(wish.interval)
        except KeyboardInterrupt:
            return EXIT_INTERRUPT


def as_json(report: StatusReport) -> dict[str, Any]:
    """Return the documented JSON of status: every job of the project, live or ended."""
    return {
        "schema_version": 1,
        "hosts": [
            {
                "name": host.name,
                "reachable": host.error is None,
                "last_seen": host.last_seen,
                "error": host.error.message if host.error else None,
                "gpus": host.gpus["gpus"] if host.gpus else [],
            }
            for host in report.hosts
        ],
        "jobs": [job_json(job) for job in newest_first(report.jobs)],
    }


def job_json(job: Located) -> dict[str, Any]:
    """Return one job in the documented JSON."""
    view = job.view
    keys = (
        "id", "name", "project", "submission", "owner", "params", "state", "reason", "waiting_for", "attempt",
        "exit_code", "signal", "submitted_at", "started_at", "ended_at", "gpus", "progress", "path",
    )  # fmt: skip
    picked: dict[str, Any] = {key: view[key] for key in keys}  # type: ignore[literal-required]
    return {**picked, "host": job.host, "cost": None, "seen_at": job.seen_at}


def draw(report: StatusReport, wish: Wish) -> Group:
    """Return the picture of a report."""
    parts: list[Table | Text] = [_hosts(report.hosts)]
    jobs = [job for job in newest_first(report.jobs) if _shown(job, wish)]
    if jobs:
        parts += [Text(""), _jobs(jobs[: wish.number])]
    if len(jobs) > wish.number:
        parts.append(Text(f"{len(jobs) - wish.number} more jobs (-n {len(jobs)} shows them)", style="dim"))
    if not jobs:
        parts.append(Text("No live job, and none in the last 24 hours.", style="dim"))
    return Group(*parts)


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
        gpus = host.gpus["gpus"] if host.gpus else []
        if not gpus:
            note = host.gpus["message"] if host.gpus else ""
            rows.append((host.name, Text("ok", style="green"), "no GPU", "", "", note))
        for n, gpu in enumerate(gpus):
            state = Text("ok", style="green") if n == 0 else Text("")
            rows.append((host.name if n == 0 else "", state, f"{gpu['index']} {gpu['name']}", *_gpu(gpu)))
    return table("", ("host", "", "gpu", "memory", "use", ""), rows)


def _gpu(gpu: GpuView) -> tuple[object, ...]:
    used, total = gpu["memory_used_mib"], gpu["memory_total_mib"]
    memory = f"{_or(used)} / {_or(total)} MiB"
    use = f"{_or(gpu['utilization_pct'])} %  {_or(gpu['temperature_c'])} °C  {_or(gpu['power_w'])} W"
    note = gpu["note"] or (f"job {gpu['leased_to']}" if gpu["leased_to"] else "")
    return memory, use, plain(note, "" if gpu["usable"] else "red")


def _or(value: object) -> str:
    return "?" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value)


def _jobs(jobs: Sequence[Located]) -> Table:
    rows: list[Sequence[object]] = []
    groups: dict[str, list[Located]] = {}
    for job in jobs:
        groups.setdefault(job.view["submission"], []).append(job)
    for submission, members in groups.items():
        if len(members) >= LINES_FROM:
            rows.append(_line(submission, members))
        else:
            rows += [_row(job) for job in members]
    return table("", ("job", "id", "state", "host", "gpu", "time", ""), rows)


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
    notes = [params, _progress(view["progress"]) if job.live else "", why(view) if view["state"] != "RUNNING" else ""]
    if view["state"] == "SUCCEEDED":
        notes[2] = ""
    if job.seen_at:
        notes.append(f"seen {duration(time.time() - job.seen_at)} ago")
    gpus = ",".join(map(str, view["gpus"]))
    note = "  ".join(note for note in notes if note)
    return view["name"], view["id"], state_text(view["state"]), job.host, gpus, duration(spent), note


def _progress(progress: dict[str, Any] | None) -> str:
    if not progress:
        return ""
    eta = progress.get("eta_s")
    return f"{progress.get('text', '')}{f', {duration(eta)} left' if eta else ''}"
