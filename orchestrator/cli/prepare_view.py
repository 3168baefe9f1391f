"""`orch submit --prepare`: code sent and environments built, nothing started."""

from __future__ import annotations

import threading

from orchestrator.api import Orch
from orchestrator.api.freeze import Frozen
from orchestrator.api.prepare import Prepared, begin, wait
from orchestrator.cli.console import OUT, PALETTE, complain, counted, emit, print_lines, say, size
from orchestrator.cli.plan_view import upload_bar
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_INTERRUPT, EXIT_JOB_FAILED, EXIT_OK
from orchestrator.watch.collapse import LineCollapser


class _Logs:
    """Prints what setups say, line by line, under the host's name."""

    def __init__(self, hosts: list[str]) -> None:
        self._guard = threading.Lock()
        self._lines = {host: LineCollapser() for host in hosts}
        self._colour = {host: PALETTE[n % len(PALETTE)] for n, host in enumerate(hosts)}
        self._width = max(map(len, hosts), default=0)

    def show(self, host: str, job: str, data: bytes) -> None:
        with self._guard:
            self._print(host, job, self._lines[host].feed(data))

    def finish(self) -> None:
        with self._guard:
            for host, lines in self._lines.items():
                self._print(host, "", lines.finish())

    def _print(self, host: str, job: str, lines: list[str]) -> None:
        if GLOBALS.json:
            for line in lines:
                emit({"event": "setup", "host": host, "name": job, "line": line})
        elif lines:
            print_lines(OUT, host.ljust(self._width), self._colour[host], lines)


def prepare(orch: Orch, frozen: Frozen) -> int:
    """Do `orch submit --prepare` with a frozen submission; returns the exit code."""
    with upload_bar() as bar:
        made = begin(orch, frozen, bar)
    for host in made.begun:
        say(f"{host} has the code", "bold")
    logs = _Logs(list(made.begun))
    try:
        done = wait(orch, made, logs.show)
    except KeyboardInterrupt:
        say("Stopped watching; the setups go on.")
        return EXIT_INTERRUPT
    logs.finish()
    for each in done:
        _tell(each)
    for host, error in made.failed.items():
        complain(f"{host} is not ready: {error.message}")
    if GLOBALS.json:
        rows = [
            {"host": each.host, "jobs": list(each.jobs), "ready": each.ready, "detail": each.detail} for each in done
        ]
        emit({
            "event": "prepared", "hosts": sorted(made.begun), "environments": rows, "sent_files": made.sent_files,
            "sent_bytes": made.sent_bytes, "failed": {host: error.message for host, error in made.failed.items()},
        })  # fmt: skip
    elif not made.failed and all(each.ready for each in done):
        say(f"Ready ({counted(made.sent_files, 'file')}, {size(made.sent_bytes)} sent). Start: orch submit")
    if made.failed:
        return EXIT_HOST
    return EXIT_OK if all(each.ready for each in done) else EXIT_JOB_FAILED


def _tell(each: Prepared) -> None:
    names = ", ".join(each.jobs[:4]) + (" …" if len(each.jobs) > 4 else "")
    if each.ready:
        say(f"{each.host}: the environment of {names} is ready", "green")
    else:
        complain(f"{each.host}: the setup of {names} failed: {each.detail}")
