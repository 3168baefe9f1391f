"""submit, run, attach and wait as people see them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.api import Located, Orch
from orchestrator.api import resume as interrupted
from orchestrator.api.again import FAILED, MISSING, cancel_twins, still_to_do
from orchestrator.api.arrange import arrange
from orchestrator.api.freeze import Frozen, freeze
from orchestrator.api.submit import Brake, Submitted, send, twins
from orchestrator.cli import ask
from orchestrator.cli.console import complain, counted, emit, say, size
from orchestrator.cli.live import LiveView
from orchestrator.cli.move_view import values_of
from orchestrator.cli.opening import opened
from orchestrator.cli.plan_view import show_plan, upload_bar
from orchestrator.cli.prepare_view import prepare
from orchestrator.cli.pull_view import pull_all
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_INTERRUPT, EXIT_JOB_FAILED, EXIT_OK, RefusedError, UsageError
from orchestrator.hosts.select import choose_hosts
from orchestrator.spec.expand import ExpandedJob, JobsFile, load_jobs_file, single_job
from orchestrator.spec.secrets import find_secrets, refuse_found
from orchestrator.store import SENT

MANY_CELLS = 100
ANSWER_SECONDS = 10.0
"""How long a Ctrl-C waits for the answer to a request that may have queued something."""


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line.

    Args:
        only: "failed" or "missing" cells; "" = all.
        replace: identical live jobs are cancelled first.
        prepare: code and environments only, nothing is queued.
        priority: of all jobs, instead of the file's.
        passing: the host is gone when this command ends, so that there is no way back to its jobs.
    """

    file: Path
    jobs: tuple[str, ...] = ()
    matrix: dict[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    gpus: int | float | None = None
    detach: bool = False
    dry_run: bool = False
    again: bool = False
    only: str = ""
    replace: bool = False
    prepare: bool = False
    priority: int | None = None
    pull: bool = True
    yes: bool = False
    accept_new: bool = False
    passing: bool = False
    command: tuple[str, ...] = ()
    name: str = "run"


def pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """Return K=V words as a dictionary.

    Raises:
        UsageError: a word has no `=` or no name.
    """
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} takes K=V, not {word!r}")
        found[key] = value
    return found


def load(wish: Wish) -> JobsFile:
    """Return the jobs asked for, parsed and expanded."""
    hosts = wish.hosts or None
    if wish.command:
        return single_job(
            wish.command, file=wish.file, name=wish.name, env_overrides=wish.env, gpus=wish.gpus, hosts=hosts
        )
    file = load_jobs_file(
        wish.file, job_filter=wish.jobs, matrix_filter=wish.matrix, env_overrides=wish.env, gpus=wish.gpus, hosts=hosts
    )
    if len(file.jobs) > MANY_CELLS and not wish.yes and not wish.dry_run:
        ask.confirm(f"That makes {len(file.jobs)} jobs. Go on?")
    return file


def frozen_from(orch: Orch, file: JobsFile, priority: int | None = None) -> Frozen:
    """Freeze the jobs: hosts chosen, secrets found, code scanned; `priority` counts instead of the file's."""
    known = {entry.name: entry for entry in orch.hosts()}
    values = find_secrets([(secret, job.position) for job in file.jobs for secret in job.secrets])
    refuse_found(file.path, values)

    def candidates(job: ExpandedJob) -> list[str]:
        return [entry.name for entry in choose_hosts(job.hosts, list(known.values()))]

    if priority is not None:
        file = replace(file, jobs=[replace(job, priority=priority) for job in file.jobs])
    return freeze(file, candidates, orch.owner, orch.store, values, orch.home)


def submit(wish: Wish) -> int:
    """Do `orch submit`; returns the exit code."""
    _check(wish)
    file = load(wish)
    for warning in file.warnings:
        say(f"warning: {warning}", "yellow")
    with opened(file, accept_new=wish.accept_new) as orch:
        _mention_interrupted(orch)
        file = _narrowed(orch, file, wish.only)
        if not file.jobs and wish.only:
            return EXIT_OK
        frozen = frozen_from(orch, file, wish.priority)
        show_plan(frozen, listing=wish.dry_run)
        if wish.dry_run:
            return EXIT_OK
        if wish.prepare:
            return prepare(orch, frozen)
        same = [] if wish.again else twins(orch, frozen)
        if same and not wish.replace:
            _refuse_twins(same, wish.yes)
        placed = arrange(orch, frozen)
        if same and wish.replace:
            cancel_twins(orch, same)
            say(f"cancelled, to be replaced: {', '.join(same)}")
        sent = _send(orch, frozen, placed)
        if sent is None:
            return EXIT_INTERRUPT
        _tell_sent(sent)
        located = [Located(placed[job.spec["id"]], orch.first_view(job.spec)) for job in frozen.jobs]
        located = [job for job in located if job.host not in sent.failed]
        if GLOBALS.json:
            emit(_as_json(sent) if wish.detach else {"event": "submitted", **_as_json(sent)})
        if wish.detach:
            say(f"Watch: orch attach {frozen.id}    Results: orch pull {frozen.id}")
            return EXIT_HOST if sent.failed else EXIT_OK
        code = follow(orch, located, pull=wish.pull, passing=wish.passing)
        return EXIT_HOST if sent.failed and code == EXIT_OK else code


def _send(orch: Orch, frozen: Frozen, placed: dict[str, str]) -> Submitted | None:
    """Send, with a bar; None when Ctrl-C stopped it."""
    brake = Brake()
    try:
        with upload_bar() as bar:
            return send(orch, frozen, placed, bar, brake)
    except KeyboardInterrupt:
        _wait_for_answers(brake)
        _tell_interrupted(orch, frozen.id)
        return None


def _wait_for_answers(brake: Brake) -> None:
    if not brake.pull():
        return
    say("Stopping; a host was just asked to queue, waiting for its answer (Ctrl-C again: do not wait)")
    with suppress(KeyboardInterrupt):
        brake.wait(ANSWER_SECONDS)


def _tell_interrupted(orch: Orch, sid: str) -> None:
    row = interrupted.settle(orch, sid)
    if row is None:
        say("Stopped before anything was queued; nothing is on any host.")
        return
    doubt = [host for host, state in row.hosts.items() if state == SENT]
    if row.acked == row.jobs:
        complain(_way_back(sid), "")
        return
    for host in doubt:
        say(f"{host} was asked to queue its jobs and did not answer: it may have them", "yellow")
    say(
        f"Stopped; {row.acked} of {row.jobs} jobs are queued. "
        f"`orch submit --resume` finishes it, `--drop` leaves out the rest; stop what is there: orch cancel {sid}"
    )


def _way_back(sid: str) -> str:
    return f"Detached; the jobs go on. Back: orch attach {sid}    Stop them: orch cancel {sid}"


def finish_interrupted(wish: Wish, *, drop: bool) -> int:
    """Do `orch submit --resume` or `--drop`."""
    file = load(wish) if wish.file.exists() else None
    with opened(file, accept_new=wish.accept_new) as orch:
        rows = orch.store.interrupted(orch.project)
        if not rows:
            say("no submit was interrupted here")
            return EXIT_OK
        for row in rows:
            if interrupted.is_move(orch, row) and not drop:
                moved = interrupted.resume_move(orch, row, values_of)
                say(f"the move {row.id} is finished: {len(moved)} jobs wait on {', '.join(row.hosts)}", "bold")
                continue
            if drop:
                uncertain = interrupted.drop(orch, row)
                say(f"{row.id} is forgotten")
                for host in uncertain:
                    say(f"  {host} may have got it before the line broke: orch status --host {host}", "yellow")
                continue
            frozen = frozen_from(orch, file or load(wish))
            values = {name: value for named in frozen.secrets.values() for name, value in named.items()}
            with upload_bar() as bar:
                hosts = interrupted.resume(orch, row, frozen.trees, values, bar)
            say(f"{row.id} is complete on {', '.join(hosts)}: orch attach {row.id}", "bold")
        return EXIT_OK


def _mention_interrupted(orch: Orch) -> None:
    for row in orch.store.interrupted(orch.project):
        say(
            f"submission {row.id} was interrupted, {row.acked} of {row.jobs} jobs acknowledged: "
            "`orch submit --resume` finishes it, `--drop` forgets it",
            "yellow",
        )


def _check(wish: Wish) -> None:
    if wish.only not in ("", FAILED, MISSING):
        raise UsageError(f"--only takes {FAILED} or {MISSING}, not {wish.only!r}")
    if wish.again and wish.replace:
        raise UsageError("--again leaves the same job running and --replace cancels it: which one?")


def _narrowed(orch: Orch, file: JobsFile, only: str) -> JobsFile:
    """Return the file with the cells that --only leaves of it; say so when there is none."""
    if not only:
        return file
    left, to_pull = still_to_do(orch, file, only)
    for job in to_pull:
        say(f"{job.view['name']} succeeded and is still on {job.host}: orch pull {job.view['id']}", "yellow")
    if not left.jobs:
        say(f"nothing to submit: of {counted(len(file.jobs), 'job')}, none is {only}")
    return left


def _refuse_twins(same: Sequence[str], yes: bool) -> None:
    text = f"the same job is already live: {', '.join(same[:5])}"
    if not sys.stdin.isatty() or GLOBALS.json:
        raise RefusedError(text, "`orch attach` watches it; --again queues it once more, --replace cancels it first.")
    if not yes:
        ask.confirm(f"{text[0].upper()}{text[1:]}. Queue it once more?")


def _tell_sent(sent: Submitted) -> None:
    for host, error in sent.failed.items():
        complain(f"{host} did not take its jobs: {error.message}")
    hosts = sorted({host for host in sent.placed.values() if host not in sent.failed})
    code = (
        f"{counted(sent.sent_files, 'file')}, {size(sent.sent_bytes)} sent"
        if sent.sent_files
        else "code was there already"
    )
    say(f"{sent.frozen.id} queued on {', '.join(hosts)} ({code})", "bold")


def _as_json(sent: Submitted) -> dict[str, Any]:
    jobs = [
        {"id": job.spec["id"], "name": job.spec["name"], "host": sent.placed[job.spec["id"]], "state": "PENDING"}
        for job in sent.frozen.jobs
        if sent.placed[job.spec["id"]] not in sent.failed
    ]
    snapshots = sorted(sent.frozen.trees)
    return {
        "submission": sent.frozen.id,
        "jobs": jobs,
        "snapshot": snapshots[0] if len(snapshots) == 1 else snapshots,
        "sent_files": sent.sent_files,
        "sent_bytes": sent.sent_bytes,
    }


def follow(orch: Orch, jobs: Sequence[Located], *, pull: bool, passing: bool = False) -> int:
    """Watch jobs to their end, pull, and return the exit code; Ctrl-C detaches (see Wish for `passing`)."""
    view = LiveView(orch, jobs)
    try:
        final = view.run()
    except KeyboardInterrupt:
        view.close()
        complain("Stopped." if passing else _way_back(jobs[0].view["submission"]), "")
        return EXIT_INTERRUPT
    finally:
        view.close()
    try:
        reports = pull_all(orch, final, wanted=pull) if pull else {}
    except KeyboardInterrupt:
        say(f"Stopped; what is not here yet stays on the host: orch pull {jobs[0].view['submission']}")
        return EXIT_INTERRUPT
    view.closing_table(final, reports)
    if view.gave_up:
        raise next(iter(view.gave_up.values()))
    return EXIT_OK if all(job.view["state"] == "SUCCEEDED" for job in final) else EXIT_JOB_FAILED


def attach(word: str | None, *, pull: bool) -> int:
    """Do `orch attach`."""
    with opened() as orch:
        jobs = orch.find([word]) if word else orch.newest()
        if not jobs:
            raise UsageError("there is nothing to attach to in this project", "`orch submit` starts something.")
        return follow(orch, jobs, pull=pull)


def wait(words: Sequence[str]) -> int:
    """Do `orch wait`: no output until the end."""
    with opened() as orch:
        jobs = orch.find(words) if words else orch.newest()
        if not jobs:
            raise UsageError("there is nothing to wait for in this project")
        view = LiveView(orch, jobs, silent=True)
        try:
            final = view.run()
        except KeyboardInterrupt:
            say("Stopped waiting; the jobs go on.")
            return EXIT_INTERRUPT
        finally:
            view.close()
        if GLOBALS.json:
            emit([{"id": job.view["id"], "name": job.view["name"], "state": job.view["state"]} for job in final])
        else:
            view.closing_table(final, {})
        if view.gave_up:
            raise next(iter(view.gave_up.values()))
        return EXIT_OK if all(job.view["state"] == "SUCCEEDED" for job in final) else EXIT_JOB_FAILED
