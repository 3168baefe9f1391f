"""`orch cancel` and `orch retry`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.api import Located, Orch
from orchestrator.api.freeze import new_id
from orchestrator.api.queues import by_whom
from orchestrator.cli import ask
from orchestrator.cli.console import counted, emit, of_host, say
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_OK, AgentError, UsageError
from orchestrator.remote.agent_link import AgentLink

Change = Callable[[AgentLink, list[str]], dict[str, str]]
Row = dict[str, Any]
ONE_BY_ONE = 10
"""More jobs than these are counted, not listed."""


@dataclass
class Done:
    """What a change left: what the hosts said, jobs whose host could not be reached, whether a host refused."""

    rows: list[Row] = field(default_factory=list)
    unreached: list[Located] = field(default_factory=list)
    refused: bool = False


def cancel(words: Sequence[str], everything: bool, yes: bool) -> int:
    """Do `orch cancel`."""
    if not words and not everything:
        raise UsageError("which job?", "Name it, or use --all for every live job of this project.")
    with opened() as orch:
        jobs = [job for job in orch.jobs()[0] if job.view["owner"] == orch.owner] if everything else orch.find(words)
        live = [job for job in jobs if job.live]
        if not live:
            say("nothing to cancel: " + ("no job is live" if everything else "all of it has ended already"))
            return EXIT_OK
        if len(live) > 1 and not yes:
            ask.confirm(f"Cancel {len(live)} jobs ({_names(live)})?")
        by = by_whom(orch)
        # A host that did not say how its jobs are a moment ago is not asked again.
        silent = [job for job in live if job.seen_at is not None]
        done = _apply(orch, [job for job in live if job not in silent], lambda link, ids: link.cancel(ids, by=by))
        done.rows += _keep(orch, silent + done.unreached, by)
        if GLOBALS.json:
            emit(done.rows)
        return EXIT_HOST if done.refused else EXIT_OK


def retry(words: Sequence[str], failed: bool, yes: bool) -> int:
    """Do `orch retry`."""
    if not words and not failed:
        raise UsageError("which job?", "Name it, or use --failed for every failed job of the newest submission.")
    with opened() as orch:
        jobs = orch.find(words) if words else orch.newest()
        ended = [job for job in jobs if not job.live]
        if failed:
            ended = [job for job in ended if job.view["state"] != "SUCCEEDED"]
        if not ended:
            say("nothing to try again: " + ("none of these failed" if failed else "these jobs have not ended"))
            return EXIT_OK
        if len(ended) > 1 and not yes and not failed:
            ask.confirm(f"Try {len(ended)} jobs again ({_names(ended)})?")
        request = new_id("s")[2:]
        done = _apply(orch, ended, lambda link, ids: link.retry(ids, request=request))
        if GLOBALS.json:
            emit(done.rows)
        if done.rows:
            say(f"Watch: orch attach {ended[0].view['submission']}")
        return EXIT_HOST if done.refused or done.unreached else EXIT_OK


def _names(jobs: Sequence[Located]) -> str:
    names = [job.view["name"] for job in jobs]
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")


def _keep(orch: Orch, jobs: Sequence[Located], by: str) -> list[Row]:
    """Keep the cancel of jobs whose host cannot be reached, for the next command that does."""
    for host in dict.fromkeys(job.host for job in jobs):
        mine = [job for job in jobs if job.host == host]
        orch.store.keep_cancels(host, [job.view["id"] for job in mine], by)
        say(f"{host} does not answer: the cancel of {_names(mine)} is kept here, for the next command that reaches it")
    return [
        {"id": job.view["id"], "name": job.view["name"], "host": job.host, "state": job.view["state"], "kept": True}
        for job in jobs
    ]


def _apply(orch: Orch, jobs: Sequence[Located], change: Change) -> Done:
    """Change jobs on their hosts, and say what became of each."""
    done = Done()
    per_host: dict[str, list[str]] = {}
    for job in jobs:
        per_host.setdefault(job.host, []).append(job.view["id"])
    answers = orch.ask(lambda link: change(link, per_host[link.name]), list(per_host)) if per_host else {}
    names = {job.view["id"]: job.view["name"] for job in jobs}
    for host, answer in answers.items():
        if answer.error:
            say(f"{of_host(host, answer.error.message)}; nothing was changed there", "red")
            if isinstance(answer.error, AgentError):
                done.refused = True
            else:
                done.unreached += [job for job in jobs if job.host == host]
        for ident, state in (answer.value or {}).items():
            done.rows.append({"id": ident, "name": names.get(ident, ""), "host": host, "state": state})
    _tell(done.rows)
    return done


def _tell(rows: Sequence[Row]) -> None:
    """Say what each job is now: a line a job, a line a state when there are many."""
    if len(rows) <= ONE_BY_ONE:
        for row in rows:
            say(f"{row['name'] or row['id']}: {row['state'].lower()}")
        return
    for state, count in Counter(row["state"] for row in rows).items():
        say(f"{counted(count, 'job')}: {state.lower()}")
