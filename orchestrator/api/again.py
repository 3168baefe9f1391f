"""Submitting again: which cells are still to be done, and live jobs that a new one takes the place of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.api.core import Orch
from orchestrator.api.find import Located, newest_first
from orchestrator.api.freeze import RESULTS
from orchestrator.api.queues import by_whom
from orchestrator.errors import UnreachableError
from orchestrator.fetch.folder import JOB_FILE, read_view
from orchestrator.spec.jobs import ExpandedJob, JobsFile
from orchestrator.spec.needs import with_needed

FAILED, MISSING = "failed", "missing"
Cell = tuple[str, tuple[tuple[str, str], ...]]


def cell_of(job: str, params: Mapping[str, str]) -> Cell:
    """Return what makes a cell the same one in two submissions: its job and values, whatever its number. Pure."""
    return job, tuple(sorted((key, str(value)) for key, value in params.items()))


def newest_of_cells(jobs: Iterable[Located]) -> dict[Cell, Located]:
    """Return the newest job of each cell. Pure."""
    found: dict[Cell, Located] = {}
    for job in newest_first(jobs):
        found.setdefault(cell_of(job.view["job"], job.view["params"]), job)
    return found


def still_to_do(orch: Orch, file: JobsFile, which: str) -> tuple[JobsFile, list[Located]]:
    """Return the file with only the cells that failed, or are missing, and jobs that only have to be pulled.

    Args:
        which: `failed` (the cell's newest job ended without success) or `missing` (it was never submitted, or its
            newest job is over and its results are neither here nor to be had). What they need comes along: a job
            finds the output of those of its own submission only.
    """
    newest = newest_of_cells(orch.jobs()[0])
    here = results_here(orch.folder / RESULTS)
    chosen: list[ExpandedJob] = []
    to_pull = []
    for job in file.jobs:
        last = newest.get(cell_of(job.job, job.params))
        if last is None:
            wanted = which == MISSING
        elif last.live:
            wanted = False
        elif which == FAILED:
            wanted = last.view["state"] != "SUCCEEDED"
        else:
            wanted = last.view["id"] not in here
            if wanted and last.view["state"] == "SUCCEEDED" and last.seen_at is None:
                wanted = False
                to_pull.append(last)
        if wanted:
            chosen.append(job)
    names = with_needed({job.job for job in chosen}, file.jobs)
    wanted_too = names - {job.job for job in chosen}
    chosen_too = [job for job in file.jobs if job in chosen or job.job in wanted_too]
    return replace(file, jobs=chosen_too), to_pull


def results_here(folder: Path) -> set[str]:
    """Return the ids of jobs whose results came home."""
    views = (read_view(path) for path in folder.glob(f"*/*/{JOB_FILE}"))
    return {str(view["id"]) for view in views if view and "id" in view}


def cancel_twins(orch: Orch, twins: Sequence[str]) -> None:
    """Cancel live jobs that new ones take the place of.

    Raises:
        UnreachableError: a host does not answer, so that both would run.
    """
    hosts: dict[str, list[str]] = {}
    for job in twins:
        hosts.setdefault(orch.store.host_of(job) or "", []).append(job)
    answers = orch.ask(lambda link: link.cancel(hosts[link.name], by_whom(orch)), list(hosts))
    for host, answer in answers.items():
        if answer.error is not None:
            raise UnreachableError(
                f"{', '.join(hosts[host])} could not be cancelled: {answer.error.message}",
                "Nothing was submitted; --again queues it beside the other.",
                host=host,
            ) from answer.error
