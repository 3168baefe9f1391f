"""`orch logs`: what jobs wrote, all in one stream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from orchestrator.api import Located, Orch
from orchestrator.api.find import newest_submission
from orchestrator.cli.console import OUT, PALETTE, emit
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_INTERRUPT, EXIT_OK, UsageError
from orchestrator.watch.collapse import LineCollapser
from orchestrator.watch.follow import Follower, GaveUp, HostLost, LogBytes, Watched


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line."""

    jobs: tuple[str, ...]
    follow: bool
    tail: int | None
    attempt: int
    setup: bool
    raw: bool


def logs(wish: Wish) -> int:
    """Do `orch logs`."""
    with opened() as orch:
        jobs = orch.find(wish.jobs) if wish.jobs else newest_submission(orch.jobs()[0])
        if not jobs:
            raise UsageError("no job has run in this project", "-A looks in all projects, -p NAME in another.")
        if wish.raw and len(jobs) != 1:
            raise UsageError(f"--raw takes one job, and this names {len(jobs)}")
        printer = _Printer(jobs, wish.raw)
        at = {job.view["id"]: _print_stored(orch, job, wish, printer) for job in jobs}
        if not wish.follow or wish.setup:
            printer.flush()
            return EXIT_OK
        return _follow(orch, jobs, at, printer)


def _print_stored(orch: Orch, job: Located, wish: Wish, printer: _Printer) -> tuple[int, int]:
    link = orch.link(job.host)
    which = "setup" if wish.setup else "log"
    if wish.tail is not None:
        part = link.read_log(job.view["id"], attempt=wish.attempt, which=which, tail_lines=wish.tail)
        printer.feed(job.view["id"], part.data)
        return part.attempt, part.offset + len(part.data)
    attempt, offset = wish.attempt, 0
    while True:
        part = link.read_log(job.view["id"], attempt=attempt, which=which, offset=offset)
        printer.feed(job.view["id"], part.data)
        attempt, offset = part.attempt, part.offset + len(part.data)
        if offset >= part.size or not part.data:
            return attempt, offset


def _follow(orch: Orch, jobs: Sequence[Located], at: dict[str, tuple[int, int]], printer: _Printer) -> int:
    hosts: dict[str, list[str]] = {}
    for job in jobs:
        hosts.setdefault(job.host, []).append(job.view["id"])
    watched = [Watched(name, lambda name=name: orch.link(name), ids) for name, ids in hosts.items()]  # type: ignore[misc]
    follower = Follower(watched, start=at)
    try:
        for event in follower.events():
            if isinstance(event, LogBytes):
                printer.feed(event.job, event.data)
            elif isinstance(event, HostLost):
                sys.stderr.write(f"orch: {event.host}: no connection, trying again\n")
            elif isinstance(event, GaveUp):
                raise event.error
    except KeyboardInterrupt:
        return EXIT_INTERRUPT
    finally:
        follower.stop()
        printer.flush()
    return EXIT_OK


class _Printer:
    def __init__(self, jobs: Sequence[Located], raw: bool) -> None:
        self._raw = raw
        self._names = {job.view["id"]: job.view["name"] for job in jobs}
        self._lines = {job: LineCollapser() for job in self._names}
        self._width = max(map(len, self._names.values())) if len(jobs) > 1 else 0
        self._colour = {job: PALETTE[n % len(PALETTE)] for n, job in enumerate(self._names)}

    def feed(self, job: str, data: bytes) -> None:
        if self._raw:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        for line in self._lines[job].feed(data):
            self._line(job, line)

    def flush(self) -> None:
        for job, lines in self._lines.items():
            if lines.partial():
                self._line(job, lines.partial())

    def _line(self, job: str, line: str) -> None:
        if GLOBALS.json:
            emit({"job": job, "name": self._names[job], "line": line})
        elif self._width:
            OUT.print(Text(self._names[job].ljust(self._width) + " │ ", style=self._colour[job]) + Text(line))
        else:
            OUT.print(Text(line))
