"""Results coming home, with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from orchestrator.api import Located, Orch
from orchestrator.api.freeze import RESULTS
from orchestrator.cli.console import ERR, counted, emit, near, say, size
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS, drawn
from orchestrator.errors import EXIT_HOST, EXIT_OK, HostError, UsageError
from orchestrator.fetch.pull import PullReport, pull_job


def pull_all(
    orch: Orch, jobs: Sequence[Located], *, wanted: bool = True, to: Path | None = None
) -> dict[str, PullReport]:
    """Pull the jobs' results into results/<submission>/<job name>; returns the reports by job id.

    Args:
        wanted: False leaves out jobs that say `pull: never`… True pulls the others.
        to: another folder than the project's results.
    """
    base = to or orch.folder / RESULTS
    reports: dict[str, PullReport] = {}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=ERR,
        transient=True, disable=GLOBALS.quiet or GLOBALS.json or not ERR.is_terminal,
    )  # fmt: skip
    with drawn(bar):
        for job in jobs:
            view = job.view
            if not view["attempt"] or (wanted and view["pull"] == "never" and to is None):
                continue
            task = bar.add_task(f"pulling {view['name']}", total=None)

            def told(done: int, total: int, task: object = task) -> None:
                bar.update(task, completed=done, total=total)  # type: ignore[arg-type]

            try:
                reports[view["id"]] = pull_job(orch.link(job.host), view, base, progress=told)
            except HostError as error:
                say(
                    f"{view['name']}: results are still on {job.host} ({error.message}); `orch pull {view['id']}`",
                    "yellow",
                )
            bar.remove_task(task)
    _tell(reports)
    return reports


def _tell(reports: dict[str, PullReport]) -> None:
    for report in reports.values():
        for warning in report.warnings:
            say(f"warning: {warning}", "yellow")
        _tell_outward(report)
        for before, after in report.renamed:
            say(f"  {before} is saved as {after}", "dim")
        for path, count, reason in report.left_out[:10]:
            say(f"  left on the host: {path} ({size(count)}; {reason})", "dim")


def _tell_outward(report: PullReport) -> None:
    if GLOBALS.verbose:
        for path, target in report.outward:
            say(f"  not made here: {path}, a symlink to {target}, which is not in the results", "dim")
    elif report.outward:
        lead = "symlink leads" if len(report.outward) == 1 else "symlinks lead"
        say(f"  {len(report.outward)} {lead} out of the results and stayed on the host (-v names them)", "dim")


def pull(words: Sequence[str], to: Path | None) -> int:
    """Do `orch pull`."""
    with opened() as orch:
        jobs = orch.find(words) if words else orch.newest()
        if not jobs:
            raise UsageError(
                "there is nothing to pull in this project", "-A looks in all projects, -p NAME in another."
            )
        reports = pull_all(orch, jobs, wanted=not words, to=to)
        ran = [job for job in jobs if job.view["attempt"]]
        if GLOBALS.json:
            emit(
                [
                    {"job": job_id, "folder": str(r.folder), "files": r.files, "bytes": r.bytes, "skipped": r.skipped}
                    for job_id, r in reports.items()
                ]
            )
        else:
            for job in ran:
                report = reports.get(job.view["id"])
                if report:
                    files = counted(report.files, "file")
                    say(f"{job.view['name']}: {files}, {size(report.bytes)} in {near(report.folder)}")
        return EXIT_OK if len(reports) >= len(ran) - sum(j.view["pull"] == "never" for j in ran) else EXIT_HOST
