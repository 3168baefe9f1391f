"""Verbs that make, watch and end jobs. Parsing only: the *_view modules do the work, imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import complete
from orchestrator.cli.boundary import command

Jobs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[JOB]...", help="Job, cell, id or submission.", autocompletion=complete.jobs),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Trust = Annotated[bool, typer.Option("--accept-new", help="Trust a host key met for the first time.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Queue and return at once.")]
NoPull = Annotated[bool, typer.Option("--no-pull", help="Leave the results on the host.")]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="Only on this host.", autocompletion=complete.hosts)]
Env = Annotated[list[str] | None, typer.Option("--env", help="K=V for the jobs' environment.")]
Gpus = Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs for each job.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the program."""
    app.command()(command(submit))
    app.command(context_settings={"allow_interspersed_args": False})(command(run))
    for verb in (init, check, attach, wait, cancel, retry):
        app.command()(command(verb))


def submit(
    file: Annotated[Path, typer.Argument(help="The jobs file.")] = Path("jobs.yaml"),
    job: Annotated[list[str] | None, typer.Option("--job", "-j", help="Only this job.")] = None,
    matrix: Annotated[list[str] | None, typer.Option("--matrix", "-m", help="Only cells with K=V.")] = None,
    host: Hosts = None,
    env: Env = None,
    gpus: Gpus = None,
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show plan and files; send nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Although an identical job is live.")] = False,
    no_pull: NoPull = False,
    accept_new: Trust = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an interrupted submit.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Forget an interrupted submit.")] = False,
    yes: Yes = False,
) -> int:
    """Freeze, check, send, queue, follow and pull the jobs of a jobs.yaml."""
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
        pull=not no_pull,
        yes=yes,
        accept_new=accept_new,
    )
    if resume or drop:
        return view.finish_interrupted(wish, drop=drop)
    return view.submit(wish)


def run(
    words: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command.")],
    host: Hosts = None,
    env: Env = None,
    gpus: Gpus = None,
    name: Annotated[str, typer.Option("--name", help="The job's name.")] = "run",
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show plan and files; send nothing.")] = False,
    no_pull: NoPull = False,
    accept_new: Trust = False,
) -> int:
    """Run one command on a host as a job, with this folder's code; no jobs.yaml needed."""
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
        list[str] | None, typer.Argument(help="Hosts (default: all).", autocompletion=complete.hosts)
    ] = None,
    accept_new: Trust = False,
    deadline: Annotated[float, typer.Option(help="Seconds a host may take.")] = 90.0,
) -> int:
    """See whether jobs can run on the hosts, and what to fix."""
    from orchestrator.cli import check_view

    return check_view.check(host or [], accept_new, deadline)


def attach(
    submission: Annotated[str | None, typer.Argument(help="Submission or job.", autocompletion=complete.jobs)] = None,
    no_pull: NoPull = False,
) -> int:
    """Go back to the live view of a submission, with its pull and its exit code."""
    from orchestrator.cli import submit_view

    return submit_view.attach(submission, pull=not no_pull)


def wait(jobs: Jobs = None) -> int:
    """Block until the jobs are done; exit 0 only when all succeeded."""
    from orchestrator.cli import submit_view

    return submit_view.wait(jobs or [])


def cancel(
    jobs: Jobs = None,
    everything: Annotated[bool, typer.Option("--all", help="Every live job of this project.")] = False,
    yes: Yes = False,
) -> int:
    """Stop running jobs and drop waiting ones."""
    from orchestrator.cli import change_views

    return change_views.cancel(jobs or [], everything, yes)


def retry(
    jobs: Jobs = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed job of the newest submission.")] = False,
    yes: Yes = False,
) -> int:
    """Try ended jobs again with the same code, in the same workdir."""
    from orchestrator.cli import change_views

    return change_views.retry(jobs or [], failed, yes)
