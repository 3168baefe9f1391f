"""The live view of jobs: their lines under coloured names, collapsed progress bars, and a table of what runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from rich.console import RenderableType
from rich.live import Live

from orchestrator.api import Located, Orch
from orchestrator.cli import closing, live_table
from orchestrator.cli.closing import LAST_LINES, why
from orchestrator.cli.console import ERR, OUT, PALETTE, complain, emit, print_lines, say, size
from orchestrator.cli.state import GLOBALS, drawn
from orchestrator.errors import HostError, OrchError
from orchestrator.fetch.pull import PullReport
from orchestrator.watch.collapse import LineCollapser
from orchestrator.watch.follow import (
    Event,
    Follower,
    GaveUp,
    HostBack,
    HostLost,
    LogBytes,
    LogEnded,
    Skipped,
    StateChanged,
    Watched,
)
from remote_payload.agent.spool.states import FINAL_STATES
from remote_payload.agent.wire.messages import JobView

TABLE_FROM = 7
"""With so many live jobs the view is a table and no log lines."""
SKIP_BEHIND = 8 * 1024 * 1024
"""A log that is so many bytes ahead of what is shown is taken up near its end; `orch logs` has all of it."""
LONG_LOG = 256 * 1024
"""A log that is longer when the view begins is shown from its last lines on."""
FIRST_LINES = 100
SETUP_EVERY = 15
"""Seconds between two lines about a setup that still runs."""


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
        self._logged = set() if silent else _logged(jobs)
        self._lines = {job: LineCollapser() for job in self._jobs}
        self._attempt = dict.fromkeys(self._jobs, 0)
        self._last: dict[str, deque[str]] = {job: deque(maxlen=LAST_LINES) for job in self._jobs}
        self._colour = {job: PALETTE[n % len(PALETTE)] for n, job in enumerate(self._jobs)}
        self._width = max((len(job.view["name"]) for job in jobs), default=0)
        self._setup_told: dict[str, int] = {}
        self._ends: dict[str, str] = {}
        self._hinted: set[tuple[str, int, str]] = set()
        self._lost: set[str] = set()
        self.gave_up: dict[str, OrchError] = {}
        self._follower: Follower | None = None
        self._drawing = ExitStack()
        self._drawn = not silent and not GLOBALS.json and not GLOBALS.quiet and ERR.is_terminal

    def run(self) -> list[Located]:
        """Watch until every job is final; returns them in the order given.

        Raises:
            KeyboardInterrupt: Ctrl-C; the jobs go on.
        """
        start = self._long_logs()
        self._follower = Follower(self._watched(), logs=self._logged, start=start, skip_behind=SKIP_BEHIND)
        if self._drawn:
            live = Live(console=ERR, refresh_per_second=4, transient=True, get_renderable=self._picture)
            self._drawing.enter_context(drawn(live))
        for event in self._follower.events():
            if event is not None:
                self._take(event)
        for job in sorted(self._logged):
            self._ended(job)
        self.close()
        return list(self._jobs.values())

    def close(self) -> None:
        """Stop following and drawing; may be called twice."""
        if self._follower is not None:
            self._follower.stop()
        self._drawing.close()

    def closing_table(self, jobs: Sequence[Located], reports: Mapping[str, PullReport]) -> None:
        """Say how it ended (see closing.closing_table)."""
        closing.closing_table(jobs, reports, self._last_lines)

    def _watched(self) -> list[Watched]:
        hosts: dict[str, list[str]] = {}
        for job in self._jobs.values():
            hosts.setdefault(job.host, []).append(job.view["id"])
        return [Watched(name, lambda name=name: self._orch.link(name), ids) for name, ids in hosts.items()]  # type: ignore[misc]

    def _long_logs(self) -> dict[str, tuple[int, int]]:
        """Show only the end of logs that are long already; return where each goes on."""
        start = {}
        for ident in self._logged:
            job = self._jobs[ident]
            attempts = job.view["attempts"]
            if not attempts or attempts[-1]["log_size"] <= LONG_LOG:
                continue
            try:
                part = self._orch.link(job.host).read_log(ident, tail_lines=FIRST_LINES, max_bytes=LONG_LOG)
            except HostError:
                continue
            self._take(Skipped(ident, part.attempt, part.offset))
            self._take(LogBytes(ident, part.attempt, part.offset, part.data))
            start[ident] = (part.attempt, part.offset + len(part.data))
        return start

    def _picture(self) -> RenderableType:
        return live_table.draw(
            list(self._jobs.values()),
            console=ERR,
            colours=self._colour,
            lost=set(self._lost),
            partial=lambda job: self._lines[job].partial(),
            everything=not self._logged,
        )

    def _take(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self._state(event.host, event.view)
        elif isinstance(event, LogBytes):
            self._log(event)
        elif isinstance(event, Skipped):
            self._skipped(event)
        elif isinstance(event, LogEnded):
            self._ended(event.job)
        elif isinstance(event, HostLost):
            self._lost.add(event.host)
            text = f"no connection ({event.error.message}); its jobs go on, trying again"
            self._host(event.host, "lost", text, "yellow")
        elif isinstance(event, HostBack):
            self._lost.discard(event.host)
            self._host(event.host, "back", "connected again", "green")
        elif isinstance(event, GaveUp):
            self.gave_up[event.host] = event.error
            self._host(event.host, "gave_up", event.error.message, "red")

    def _host(self, host: str, event: str, text: str, style: str) -> None:
        if GLOBALS.json and not self._silent:
            emit({"event": event, "host": host, "message": text})
        elif not self._silent:
            (complain if event == "gave_up" else say)(f"{host}: {text}", style)

    def _state(self, host: str, view: JobView) -> None:
        before = self._jobs[view["id"]].view
        self._jobs[view["id"]] = Located(host, view)
        self._orch.remember(host, [view])
        self._hints(host, view)
        keys = ("state", "reason", "waiting_for")
        same = all(before[key] == view[key] for key in keys)  # type: ignore[literal-required]
        if self._silent or (same and not self._is_setup_news(view)):
            return
        if GLOBALS.json:
            emit({"event": "state", "job": view["id"], "name": view["name"], "host": host, "state": view["state"],
                  "reason": view["reason"], "waiting_for": view["waiting_for"]})  # fmt: skip
        elif not GLOBALS.quiet and self._worth_a_line(view, before):
            if view["state"] in FINAL_STATES and view["attempt"] and view["id"] in self._logged:
                # States and logs come on streams of their own: the end is said after the last line.
                self._ends[view["id"]] = _state_line(host, view)
            else:
                self._print(view["id"], [_state_line(host, view)], "dim")

    def _hints(self, host: str, view: JobView) -> None:
        """Tell each hint once in an attempt."""
        for text in closing.hints(view):
            if self._silent or (view["id"], view["attempt"], text) in self._hinted:
                continue
            self._hinted.add((view["id"], view["attempt"], text))
            if GLOBALS.json:
                emit({"event": "hint", "job": view["id"], "name": view["name"], "host": host, "message": text})
            elif not GLOBALS.quiet:
                self._print(view["id"], [text], "yellow")

    def _ended(self, job: str) -> None:
        self._print_lines(job, self._lines[job].finish())
        if job in self._ends:
            self._print(job, [self._ends.pop(job)], "dim")

    def _is_setup_news(self, view: JobView) -> bool:
        """Without a table, a setup that takes long is told of now and then: it may be fetching gigabytes."""
        if self._drawn or GLOBALS.json or view["waiting_for"] != closing.SETUP or not view["progress"]:
            return False
        elapsed = closing.setup_seconds(view)
        if elapsed < self._setup_told.get(view["id"], 0) + SETUP_EVERY:
            return False
        self._setup_told[view["id"]] = elapsed
        return True

    def _worth_a_line(self, view: JobView, before: JobView) -> bool:
        if view["state"] == "PENDING":
            # The table shows why a job waits; without one it is said whenever that changes.
            again = view["waiting_for"] == closing.SETUP
            return not self._drawn and (again or view["waiting_for"] != before["waiting_for"])
        changed = view["state"] != before["state"] or view["reason"] != before["reason"]
        return changed and view["state"] in ("RUNNING", *FINAL_STATES)

    def _log(self, event: LogBytes) -> None:
        lines: list[str] = []
        if self._attempt[event.job] not in (0, event.attempt):
            lines = [*self._lines[event.job].finish(), f"--- attempt {event.attempt} ---"]
        self._attempt[event.job] = event.attempt
        self._print_lines(event.job, lines + self._lines[event.job].feed(event.data))

    def _skipped(self, event: Skipped) -> None:
        self._print_lines(event.job, self._lines[event.job].finish())
        note = f"… {size(event.count)} of its output left out here; all of it: orch logs {event.job}"
        if GLOBALS.json:
            emit({"event": "skipped", "job": event.job, "bytes": event.count})
        else:
            self._print(event.job, [note], "dim")

    def _print_lines(self, job: str, lines: Sequence[str]) -> None:
        self._last[job].extend(lines)
        if GLOBALS.json:
            for line in lines:
                emit({"event": "log", "job": job, "name": self._jobs[job].view["name"], "line": line})
        elif lines:
            self._print(job, lines)

    def _print(self, job: str, lines: Sequence[str], style: str = "") -> None:
        told = ERR if style else OUT
        console = ERR if self._drawn and OUT.is_terminal else told
        name = self._jobs[job].view["name"].ljust(self._width)
        print_lines(console, name, self._colour[job], lines, style)

    def _last_lines(self, job: Located) -> Sequence[str]:
        if job.view["id"] not in self._logged:
            return closing.stored_lines(self._orch, job)
        # Of a single job they stand just above.
        return () if len(self._jobs) == 1 else list(self._last[job.view["id"]])


def _logged(jobs: Sequence[Located]) -> set[str]:
    """Return the ids of jobs whose lines are shown: all of a few; of many, those that live, if these are few."""
    live = {job.view["id"] for job in jobs if job.live}
    if len(live) >= TABLE_FROM:
        return set()
    return live if len(jobs) >= TABLE_FROM else {job.view["id"] for job in jobs}


def _state_line(host: str, view: JobView) -> str:
    if view["state"] == "RUNNING":
        gpus = f", GPU {','.join(map(str, view['gpus']))}" if view["gpus"] else ""
        return f"running on {host}{gpus}"
    return f"{view['state'].lower()}: {why(view)}"
