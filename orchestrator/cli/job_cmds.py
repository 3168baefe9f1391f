"""Verbs that make, watch and end jobs. Parsing only: the *_view modules do the work, imported when needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import complete
from orchestrator.cli.boundary import command

Jobs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="A job (all its cells), a cell as train.3, an id or the start of one, or a submission.",
        autocompletion=complete.jobs,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Trust = Annotated[bool, typer.Option("--accept-new", help="Trust a host key met for the first time.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Queue and return at once.")]
NoPull = Annotated[bool, typer.Option("--no-pull", help="Leave the results on the host.")]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="NAME", help="Only on this host (again for more).", autocompletion=complete.hosts),
]
Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="K=V", help="A variable for the jobs (again for more).")
]
MAX_GPUS = 1024


def _gpus(text: str) -> int | float:
    # Not through the models of jobs.yaml: importing them takes longer than --help may.
    if text.isascii() and text.isdigit() and int(text) <= MAX_GPUS:
        return int(text)
    if re.fullmatch(r"0?\.\d{1,2}", text, re.ASCII) and float(text) > 0:
        return float(text)
    raise typer.BadParameter(f"{text[:40]!r} is not a number of GPUs, such as 2, or 0.5 for half a one.")


Gpus = Annotated[
    float | None, typer.Option("--gpus", metavar="N", parser=_gpus, help="GPUs for each job; 0.5 is half a one.")
]

Only = Annotated[
    str, typer.Option("--only", metavar="failed|missing", help="Cells that failed, or whose results are nowhere.")
]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="N", min=-100, max=100, help="Higher goes first (default: 0).")
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the program."""
    app.command()(command(submit))
    app.command(context_settings={"allow_interspersed_args": False})(command(run))
    for verb in (init, check, attach, wait, cancel, retry, move):
        app.command()(command(verb))


def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The jobs file.")] = Path("jobs.yaml"),
    job: Annotated[
        list[str] | None, typer.Option("--job", "-j", metavar="NAME", help="Only this job (again for more).")
    ] = None,
    matrix: Annotated[
        list[str] | None, typer.Option("--matrix", "-m", metavar="K=V", help="Only cells with this value.")
    ] = None,
    host: Hosts = None,
    env: Env = None,
    gpus: Gpus = None,
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show jobs and files; send nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Queue it although the same job is live.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Cancel the same job first where it is live.")] = False,
    only: Only = "",
    prepare: Annotated[bool, typer.Option("--prepare", help="Send code, run setups; start nothing.")] = False,
    priority: Priority = None,
    no_pull: NoPull = False,
    accept_new: Trust = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an interrupted submit.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Forget an interrupted submit.")] = False,
    yes: Yes = False,
) -> int:
    """Send the jobs of a jobs.yaml, follow and pull them.

    The code is frozen as it is now. Ctrl-C detaches once the jobs are queued: they go on, and `orch attach` comes back.
    Exit code 0 only when every job succeeded.

    \b
    orch submit                           all jobs of ./jobs.yaml
    orch submit -j train -m lr=1e-3       some cells of one job
    orch submit --dry-run                 what would be sent
    orch submit -d && orch wait           queue now, wait elsewhere
    orch submit --only failed             the failed cells again, with today's code
    orch submit --prepare                 code and environments, so that jobs start at once later
    """
    from orchestrator.cli import submit_view as view

    wish = view.Wish(
        file=file,
        jobs=tuple(job or ()),
        matrix=view.pairs("--matrix", matrix or []),
        hosts=tuple(host or ()),
        env=view.pairs("--env", env or []),
        gpus=gpus,
        detach=detach,
        dry_run=dry_run,
        again=again,
        replace=replace,
        only=only,
        prepare=prepare,
        priority=priority,
        pull=not no_pull,
        yes=yes,
        accept_new=accept_new,
    )
    if resume or drop:
        return view.finish_interrupted(wish, drop=drop)
    return view.submit(wish)


def run(
    words: Annotated[list[str], typer.Argument(metavar="-- CMD", help="The command and its arguments.")],
    host: Hosts = None,
    env: Env = None,
    gpus: Gpus = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The job's name.")] = "run",
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show jobs and files; send nothing.")] = False,
    no_pull: NoPull = False,
    accept_new: Trust = False,
) -> int:
    """Run one command as a job, with this folder's code.

    No jobs.yaml is needed; the defaults of one that is here apply.

    \b
    orch run -- python train.py --epochs 3
    orch run --host box --gpus 2 -- torchrun --nproc-per-node 2 train.py
    """
    from orchestrator.cli import submit_view as view

    wish = view.Wish(
        file=Path("jobs.yaml"),
        hosts=tuple(host or ()),
        env=view.pairs("--env", env or []),
        gpus=gpus,
        detach=detach,
        dry_run=dry_run,
        again=True,
        pull=not no_pull,
        accept_new=accept_new,
        command=tuple(words),
        name=name,
    )
    return view.submit(wish)


def init(force: Annotated[bool, typer.Option("--force", help="Replace an existing jobs.yaml.")] = False) -> int:
    """Write a jobs.yaml for this folder."""
    from orchestrator.cli import small_views

    return small_views.init(force)


def check(
    host: Annotated[
        list[str] | None, typer.Argument(metavar="HOST", help="Hosts (default: all).", autocompletion=complete.hosts)
    ] = None,
    accept_new: Trust = False,
    deadline: Annotated[float, typer.Option(metavar="SECONDS", help="How long a host may take.")] = 90.0,
) -> int:
    """See whether jobs can run on the hosts, and what to fix."""
    from orchestrator.cli import check_view

    return check_view.check(host or [], accept_new, deadline)


def attach(
    submission: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBMISSION", help="A submission or job (default: the newest).", autocompletion=complete.jobs
        ),
    ] = None,
    no_pull: NoPull = False,
) -> int:
    """Go back to a submission's live view, pull and exit code.

    What is written before is shown too, of a long log its last lines; `orch logs` has all of it.
    """
    from orchestrator.cli import submit_view

    return submit_view.attach(submission, pull=not no_pull)


def wait(jobs: Jobs = None) -> int:
    """Wait until jobs are done; exit 0 only when all succeeded.

    Without JOB, the newest submission's.
    """
    from orchestrator.cli import submit_view

    return submit_view.wait(jobs or [])


def cancel(
    jobs: Jobs = None,
    everything: Annotated[bool, typer.Option("--all", help="Every live job of this project.")] = False,
    yes: Yes = False,
) -> int:
    """Stop running jobs and drop waiting ones.

    \b
    orch cancel train.3        one cell
    orch cancel train          every live cell of train
    orch cancel --all          every live job of this project
    """
    from orchestrator.cli import change_views

    return change_views.cancel(jobs or [], everything, yes)


def move(
    jobs: Jobs = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Wait on this host instead.", autocompletion=complete.hosts)
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=-100, max=100, help="Another place in the queue; higher goes first.")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="What would start sooner on another host.")] = False,
    yes: Yes = False,
) -> int:
    """Let waiting jobs wait elsewhere, or at another place in line.

    \b
    orch move train --host box2
    orch move train.3 --priority 10
    orch move --balance
    """
    from orchestrator.cli import move_view

    return move_view.move(jobs or [], host, priority, balance, yes)


def retry(
    jobs: Jobs = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed job of the newest submission.")] = False,
    yes: Yes = False,
) -> int:
    """Try ended jobs again with the same code, in the same workdir."""
    from orchestrator.cli import change_views

    return change_views.retry(jobs or [], failed, yes)
