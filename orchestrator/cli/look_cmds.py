"""Verbs that look at jobs and bring results home. Parsing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import complete
from orchestrator.cli.boundary import command
from orchestrator.cli.job_cmds import Hosts, Jobs, Trust


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the program."""
    for verb in (status, show, logs, pull):
        app.command()(command(verb))


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh in place until Ctrl-C.")] = False,
    host: Hosts = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only jobs in this state (again for more).")
    ] = None,
    number: Annotated[int, typer.Option("-n", metavar="N", min=1, help="At most so many jobs.")] = 40,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Time between refreshes of -w.")] = 2.0,
    accept_new: Trust = False,
) -> int:
    """Show hosts, GPUs, live jobs and those of the last 24 hours."""
    from orchestrator.cli import status_view

    return status_view.status(
        status_view.Wish(tuple(host or ()), tuple(s.upper() for s in state or ()), number, watch, interval), accept_new
    )


def show(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job, a cell as train.3, or an id.", autocompletion=complete.jobs)
    ],
) -> int:
    """Tell why a job waits or failed, what ran where, and its attempts."""
    from orchestrator.cli import show_view

    return show_view.show(job)


def logs(
    jobs: Jobs = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as they write, until the jobs are done.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", metavar="N", min=0, help="Only the last N lines of each.")
    ] = None,
    attempt: Annotated[int, typer.Option("--attempt", metavar="N", min=0, help="Which attempt (0: the newest).")] = 0,
    setup: Annotated[bool, typer.Option("--setup", help="The log of their setup instead.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="One job's bytes as they are, also at a terminal.")] = False,
) -> int:
    """Print what jobs wrote; without JOB, the newest submission's.

    A terminal gets clean lines: progress bars as they ended, no control characters. One job into a file or pipe is
    byte for byte what it wrote.

    \b
    orch logs -f                       follow all jobs, prefixed with their names
    orch logs train.3 --tail 50
    orch logs train.3 > train.3.log
    """
    from orchestrator.cli import logs_view

    return logs_view.logs(logs_view.Wish(tuple(jobs or ()), follow, tail, attempt, setup, raw))


def pull(
    jobs: Jobs = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Another folder than ./results.")] = None,
) -> int:
    """Bring results home; without JOB, the newest submission's."""
    from orchestrator.cli import pull_view

    return pull_view.pull(jobs or [], to)
