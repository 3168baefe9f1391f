"""`orch logs`: what jobs wrote, all in one stream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.api import Located, Orch
from orchestrator.cli.console import OUT, PALETTE, complain, emit, print_lines, say
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_INTERRUPT, EXIT_OK, UnreachableError, UsageError
from orchestrator.watch.collapse import LineCollapser
from orchestrator.watch.follow import Follower, GaveUp, HostBack, HostLost, LogBytes, Watched


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
    """Do `orch logs`. One job's bytes go untouched into a file or pipe; a terminal gets clean lines."""
    with opened() as orch:
        jobs = orch.find(wish.jobs) if wish.jobs else orch.newest()
        if not jobs:
            raise UsageError("no job has run in this project", "-A looks in all projects, -p NAME in another.")
        if wish.raw and len(jobs) != 1:
            raise UsageError(f"--raw takes one job, and this names {len(jobs)}")
        raw = wish.raw or (len(jobs) == 1 and not GLOBALS.json and not sys.stdout.isatty())
        printer = _Printer(jobs, raw)
        try:
            if wish.setup and wish.follow:
                return _follow_setups(orch, jobs, printer)
            at, silent = _print_all_stored(orch, jobs, wish, printer)
            if wish.follow and wish.attempt == 0:
                return _follow(orch, jobs, at, printer)
            return EXIT_HOST if silent else EXIT_OK
        except KeyboardInterrupt:
            return EXIT_INTERRUPT
        finally:
            printer.flush()


def _print_all_stored(
    orch: Orch, jobs: Sequence[Located], wish: Wish, printer: _Printer
) -> tuple[dict[str, tuple[int, int]], bool]:
    """Print what there is; return where each log goes on, and whether a host did not answer."""
    at: dict[str, tuple[int, int]] = {}
    error: UnreachableError | None = None
    for job in jobs:
        try:
            at[job.view["id"]] = _print_stored(orch, job, wish, printer)
        except UnreachableError as failed:
            if len(jobs) == 1 and not wish.follow:
                raise
            error = failed
            complain(f"{job.view['name']}: {failed.message}", "yellow")
    return at, error is not None


def _print_stored(orch: Orch, job: Located, wish: Wish, printer: _Printer) -> tuple[int, int]:
    link = orch.link(job.host)
    ident, which = job.view["id"], "setup" if wish.setup else "log"
    part = link.read_log(ident, attempt=wish.attempt, which=which, tail_lines=wish.tail,
                         offset=0 if wish.tail is None else None)  # fmt: skip
    while True:
        printer.feed(ident, part.attempt, part.data)
        attempt, offset = part.attempt, part.offset + len(part.data)
        if offset >= part.size or not part.data:
            return attempt, offset
        part = link.read_log(ident, attempt=attempt, which=which, offset=offset)


def _follow_setups(orch: Orch, jobs: Sequence[Located], printer: _Printer) -> int:
    for job in jobs:
        for piece in orch.link(job.host).follow(job.view["id"], which="setup"):
            printer.feed(job.view["id"], piece.attempt, piece.data)
    return EXIT_OK


def _follow(orch: Orch, jobs: Sequence[Located], at: dict[str, tuple[int, int]], printer: _Printer) -> int:
    hosts: dict[str, list[str]] = {}
    for job in jobs:
        hosts.setdefault(job.host, []).append(job.view["id"])
    watched = [Watched(name, lambda name=name: orch.link(name), ids) for name, ids in hosts.items()]  # type: ignore[misc]
    follower = Follower(watched, start=at)
    try:
        for event in follower.events():
            if isinstance(event, LogBytes):
                printer.feed(event.job, event.attempt, event.data)
            elif isinstance(event, HostLost):
                say(f"{event.host}: no connection, trying again", "yellow")
            elif isinstance(event, HostBack):
                say(f"{event.host}: connected again", "green")
            elif isinstance(event, GaveUp):
                raise event.error
    finally:
        follower.stop()
    return EXIT_OK


class _Printer:
    def __init__(self, jobs: Sequence[Located], raw: bool) -> None:
        self._raw = raw
        self._names = {job.view["id"]: job.view["name"] for job in jobs}
        self._lines = {job: LineCollapser() for job in self._names}
        self._attempt = dict.fromkeys(self._names, 0)
        self._width = max(map(len, self._names.values())) if len(jobs) > 1 else 0
        self._colour = {job: PALETTE[n % len(PALETTE)] for n, job in enumerate(self._names)}

    def feed(self, job: str, attempt: int, data: bytes) -> None:
        if self._raw:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if attempt != self._attempt[job]:
            # The half line an attempt ended with is not the beginning of the next one's first.
            self._print(job, self._lines[job].finish())
            self._attempt[job] = attempt
        self._print(job, self._lines[job].feed(data))

    def flush(self) -> None:
        for job, lines in self._lines.items():
            self._print(job, lines.finish())

    def _print(self, job: str, lines: Sequence[str]) -> None:
        if GLOBALS.json:
            for line in lines:
                emit({"job": job, "name": self._names[job], "line": line})
        elif lines:
            print_lines(OUT, self._names[job].ljust(self._width) if self._width else "", self._colour[job], lines)
