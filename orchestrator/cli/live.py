"""The live view of jobs: coloured prefixes, collapsed progress bars, a footer of what runs, a closing table."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.api import Located, Orch
from orchestrator.cli.console import ERR, OUT, PALETTE, duration, emit, plain, say, state_text, table
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import OrchError
from orchestrator.fetch.pull import PullReport
from orchestrator.watch.collapse import LineCollapser
from orchestrator.watch.follow import Event, Follower, GaveUp, HostBack, HostLost, LogBytes, StateChanged, Watched
from remote_payload.agent.spool.states import FINAL_STATES, sentence
from remote_payload.agent.wire.messages import JobView

TABLE_FROM = 7
"""With so many live jobs the view is a table and no log lines."""

LAST_LINES = 20


class LiveView:
    """Draws jobs until all are final.

    Args:
        orch: opens the links.
        jobs: what to watch.
        silent: only wait.
    """

    def __init__(self, orch: Orch, jobs: Sequence[Located], *, silent: bool = False) -> None:
        self._orch = orch
        self._jobs = {job.view["id"]: job for job in jobs}
        self._silent = silent
        self._logs = not silent and len(jobs) < TABLE_FROM
        self._lines = {job: LineCollapser() for job in self._jobs}
        self._last: dict[str, deque[str]] = {job: deque(maxlen=LAST_LINES) for job in self._jobs}
        self._colour = {job: PALETTE[n % len(PALETTE)] for n, job in enumerate(self._jobs)}
        self._width = max((len(job.view["name"]) for job in jobs), default=0)
        self._lost: set[str] = set()
        self.gave_up: dict[str, OrchError] = {}
        self._follower = Follower(self._watched(), logs=self._logs)
        drawn = not silent and not GLOBALS.json and not GLOBALS.quiet and ERR.is_terminal
        self._live = Live(console=ERR, refresh_per_second=4, transient=True) if drawn else None

    def _watched(self) -> list[Watched]:
        hosts: dict[str, list[str]] = {}
        for job in self._jobs.values():
            hosts.setdefault(job.host, []).append(job.view["id"])
        return [Watched(name, lambda name=name: self._orch.link(name), ids) for name, ids in hosts.items()]  # type: ignore[misc]

    def run(self) -> list[Located]:
        """Watch until every job is final; returns them in the order given.

        Raises:
            KeyboardInterrupt: Ctrl-C; the jobs go on.
        """
        if self._live:
            self._live.start()
        for event in self._follower.events():
            if event is not None:
                self._take(event)
            if self._live:
                self._live.update(self._footer())
        self._flush()
        self.close()
        return list(self._jobs.values())

    def close(self) -> None:
        """Stop following and drawing; may be called twice."""
        self._follower.stop()
        if self._live:
            with suppress(Exception):
                self._live.stop()
            self._live = None

    def _take(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self._state(event.host, event.view)
        elif isinstance(event, LogBytes):
            for line in self._lines[event.job].feed(event.data):
                self._line(event.job, line)
        elif isinstance(event, HostLost):
            self._lost.add(event.host)
            self._tell(f"{event.host}: no connection ({event.error.message}); its jobs go on, trying again", "yellow")
        elif isinstance(event, HostBack):
            self._lost.discard(event.host)
            self._tell(f"{event.host}: connected again", "green")
        elif isinstance(event, GaveUp):
            self.gave_up[event.host] = event.error
            self._tell(f"{event.host}: {event.error.message}", "red")

    def _state(self, host: str, view: JobView) -> None:
        before = self._jobs[view["id"]].view
        self._jobs[view["id"]] = Located(host, view)
        self._orch.remember(host, [view])
        if (before["state"] == view["state"] and before["reason"] == view["reason"]) or self._silent:
            return
        if GLOBALS.json:
            emit({"event": "state", "job": view["id"], "name": view["name"], "host": host, "state": view["state"],
                  "reason": view["reason"], "waiting_for": view["waiting_for"]})  # fmt: skip
        elif not GLOBALS.quiet and view["state"] in ("RUNNING", *FINAL_STATES):
            self._print(view["id"], Text(_state_line(host, view), style="dim"))

    def _line(self, job: str, line: str) -> None:
        self._last[job].append(line)
        if GLOBALS.json:
            emit({"event": "log", "job": job, "name": self._jobs[job].view["name"], "line": line})
        elif self._logs:
            self._print(job, Text(line), out=True)

    def _print(self, job: str, text: Text, out: bool = False) -> None:
        prefix = Text(self._jobs[job].view["name"].ljust(self._width) + " │ ", style=self._colour[job])
        console = self._live.console if self._live and OUT.is_terminal else (OUT if out else ERR)
        console.print(prefix + text)

    def _tell(self, text: str, style: str) -> None:
        if not self._silent:
            say(text, style)

    def _flush(self) -> None:
        for job, lines in self._lines.items():
            if lines.partial():
                self._line(job, lines.partial())

    def _footer(self) -> Table:
        rows = []
        for job in self._jobs.values():
            view = job.view
            if view["state"] in FINAL_STATES and self._logs:
                continue
            since = view["started_at"]
            spent = duration((view["ended_at"] or time.time()) - since) if since else ""
            note = _note(view, self._lines[view["id"]].partial(), job.host in self._lost)
            gpus = ",".join(map(str, view["gpus"]))
            rows.append(
                (
                    plain(view["name"], self._colour[view["id"]]),
                    state_text(view["state"]),
                    job.host,
                    gpus,
                    spent,
                    note[:100],
                )
            )
        return table("", ("job", "state", "host", "gpu", "time", ""), rows[:40])

    def closing_table(self, jobs: Sequence[Located], reports: Mapping[str, PullReport]) -> None:
        """Say how it ended: failed jobs with their last lines and reason, then one row a job."""
        if GLOBALS.json:
            for job in jobs:
                report = reports.get(job.view["id"])
                emit(
                    {
                        "event": "end",
                        "job": job.view,
                        "host": job.host,
                        "results": str(report.folder) if report else None,
                    }
                )
            return
        for job in jobs:
            if job.view["state"] in ("FAILED", "LOST"):
                self._failure(job)
        rows = []
        for job in jobs:
            view = job.view
            spent = duration(view["ended_at"] - view["started_at"]) if view["ended_at"] and view["started_at"] else ""
            report = reports.get(view["id"])
            where = f"{report.folder} ({report.files} files)" if report else ""
            code = "" if view["exit_code"] is None else view["exit_code"]
            rows.append((view["name"], state_text(view["state"]), code, spent, job.host, where))
        if not GLOBALS.quiet:
            ERR.print(table("", ("job", "state", "exit", "time", "host", "results"), rows))

    def _failure(self, job: Located) -> None:
        view = job.view
        lines = list(self._last[view["id"]])
        if not self._logs:
            with suppress(OrchError):
                data = self._orch.link(job.host).read_log(view["id"], tail_lines=LAST_LINES).data
                collapser = LineCollapser()
                lines = [*collapser.feed(data), collapser.partial()][-LAST_LINES:]
            for line in lines:
                ERR.print(Text("  " + line, style="dim"))
        say(f"{view['name']}: {why(view)}", "bold red")


def why(view: JobView) -> str:
    """Return in one sentence why a job is in its state."""
    text = sentence(view["reason"] or view["waiting_for"]) or view["state"].lower()
    extra = []
    if view["exit_code"]:
        extra.append(f"exit code {view['exit_code']}")
    if view["signal"]:
        extra.append(f"signal {view['signal']}")
    if view["detail"]:
        extra.append(view["detail"])
    return text + (f" ({'; '.join(extra)})" if extra else "")


def _state_line(host: str, view: JobView) -> str:
    if view["state"] == "RUNNING":
        gpus = f", GPU {','.join(map(str, view['gpus']))}" if view["gpus"] else ""
        return f"running on {host}{gpus}"
    return f"{view['state'].lower()}: {why(view)}"


def _note(view: JobView, partial: str, lost: bool) -> str:
    if lost:
        return "no connection; last known state"
    if view["state"] == "PENDING":
        return why(view)
    progress = view["progress"]
    return partial or (str(progress.get("text", "")) if progress else "")
