"""`orch cancel` and `orch retry`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from orchestrator.api import Located, Orch
from orchestrator.api.find import newest_submission
from orchestrator.api.freeze import new_id
from orchestrator.cli import ask
from orchestrator.cli.console import emit, say
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_OK, UsageError
from orchestrator.remote.agent_link import AgentLink

Change = Callable[[AgentLink, list[str]], dict[str, str]]


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
        by = f"{orch.owner}@{socket.gethostname()}"
        return _apply(orch, live, lambda link, ids: link.cancel(ids, by=by))


def retry(words: Sequence[str], failed: bool, yes: bool) -> int:
    """Do `orch retry`."""
    if not words and not failed:
        raise UsageError("which job?", "Name it, or use --failed for every failed job of the newest submission.")
    with opened() as orch:
        jobs = orch.find(words) if words else newest_submission(orch.jobs()[0])
        ended = [job for job in jobs if not job.live]
        if failed:
            ended = [job for job in ended if job.view["state"] != "SUCCEEDED"]
        if not ended:
            say("nothing to try again: " + ("none of these failed" if failed else "these jobs have not ended"))
            return EXIT_OK
        if len(ended) > 1 and not yes and not failed:
            ask.confirm(f"Try {len(ended)} jobs again ({_names(ended)})?")
        request = new_id("s")[2:]
        code = _apply(orch, ended, lambda link, ids: link.retry(ids, request=request))
        say(f"Watch: orch attach {ended[0].view['submission']}")
        return code


def _names(jobs: Sequence[Located]) -> str:
    names = [job.view["name"] for job in jobs]
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")


def _apply(orch: Orch, jobs: Sequence[Located], change: Change) -> int:
    per_host: dict[str, list[str]] = {}
    for job in jobs:
        per_host.setdefault(job.host, []).append(job.view["id"])
    answers = orch.ask(lambda link: change(link, per_host[link.name]), list(per_host))
    names = {job.view["id"]: job.view["name"] for job in jobs}
    rows = []
    for host, answer in answers.items():
        if answer.error:
            say(f"{host}: {answer.error.message}; nothing was changed there", "red")
        for ident, state in (answer.value or {}).items():
            rows.append({"id": ident, "name": names.get(ident, ""), "host": host, "state": state})
            say(f"{names.get(ident, ident)}: {state.lower()}")
    if GLOBALS.json:
        emit(rows)
    return EXIT_HOST if any(answer.error for answer in answers.values()) else EXIT_OK
