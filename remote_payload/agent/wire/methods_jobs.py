"""Methods about jobs: looking at them, stopping them, trying again."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.disk import disk_facts
from remote_payload.agent.spool import atomic, secrets
from remote_payload.agent.spool.fold import cancel_stands, fold, is_final
from remote_payload.agent.spool.hostroot import owner_of
from remote_payload.agent.spool.keeper_start import keeper_view, start_keeper
from remote_payload.agent.spool.submissions import load_facts
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.messages import JobSpec, JobView
from remote_payload.agent.wire.methods_host import gpu_table
from remote_payload.agent.wire.protocol import MAX_HEADER
from remote_payload.agent.wire.session import Answer, Call

POLL_SECONDS = 0.05
SMALL_CHANGE_SECONDS = 1.0
"""A job of which only the log or its progress grew is told of no more often."""
IDLE_SHARE = 5.0
"""A look that takes t seconds is followed by at least this many t of rest."""
REPLY_ROOM = MAX_HEADER - 512 * 1024
FRAME_ROOM = 1024 * 1024
_TICK = 0.001


def jobs(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Return jobs, those of the newest submission first."""
    del call
    specs = _chosen(context, args)
    views, left = fitting(context.views.views(specs), REPLY_ROOM)
    said: Dict[str, Any] = {"jobs": views, "host_id": context.spool.host_id, "time": time.time()}
    return Answer({**said, "truncated": left} if left else said)


def status(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Return the whole host in one answer."""
    del call
    since, project = args["since"], args["project"]
    specs = context.jobs(project) if since is None else context.recent(since, project)
    views, left = fitting(context.views.views(specs), REPLY_ROOM - 256 * 1024)
    disk = disk_facts(context.paths.root)
    said: Dict[str, Any] = {
        "gpus": gpu_table(context),
        "jobs": views,
        "keeper": keeper_view(context.paths),
        "time": time.time(),
        "disk": {"free": disk["free"], "total": disk["total"]},
        "load": _load(),
        "paused": atomic.read_json(context.paths.paused),
        "owner": owner_of(context.paths),
        "host_id": context.spool.host_id,
        "broken": context.broken(),
    }
    return Answer({**said, "truncated": left} if left else said)


def watch(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Stream jobs: all of them first, then those that changed, until all are final."""
    specs = _chosen(context, args)
    told: Dict[str, Tuple[str, JobView, float]] = {}
    while True:
        began = time.monotonic()
        views = context.views.views(specs)
        changed = [view for view in views if _is_news(told.get(view["id"]), view, began)]
        for batch in _batches(changed):
            call.send(jobs=batch)
        for view in changed:
            told[view["id"]] = (_essence(view), view, began)
        if all(is_final(view["state"]) for view in views):
            return Answer({"count": len(views)})
        context.tend()
        call.pause(max(POLL_SECONDS, IDLE_SHARE * (time.monotonic() - began)))


def cancel(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Ask for jobs to be ended; those that have not started are at once."""
    del call
    specs = context.find_all(args["ids"])
    for spec in specs:
        _cancel_one(context, spec, args["by"])
    if specs and not context.spool.moved:
        # What runs is ended by its own supervisor; a keeper is needed for what nobody supervises.
        try:
            start_keeper(context.paths)
        except AgentFault as fault:
            context.say("warning", fault.message)
    return Answer({"jobs": _states(context, specs)})


def retry(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Allow ended jobs one more attempt; the same request twice counts once, and a live job is left alone."""
    del call
    context.own()
    specs = context.find_all(args["ids"])
    for spec in specs:
        _retry_one(context, spec, args["request"])
    if specs:
        start_keeper(context.paths)
    return Answer({"jobs": _states(context, specs)})


def give_secrets(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Store secrets for jobs that wait for them."""
    del call
    values: Dict[str, Dict[str, str]] = args["values"]
    specs = context.find_all(list(values))
    for spec in specs:
        if not is_final(fold(load_facts(context.paths, spec), time.time()).state):
            secrets.store(context.paths, spec, values[spec["id"]])
    if specs and not context.spool.moved:
        start_keeper(context.paths)
    return Answer({})


def pulled(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Record that an attempt's results came home."""
    del call
    place = context.paths.job(context.find(args["job"])["id"])
    if not os.path.isdir(place.folder):
        return Answer({})
    atomic.write_json(place.pulled, {"attempt": args["attempt"], "at": time.time(), "to": args["to"]})
    return Answer({})


def fitting(views: List[JobView], room: int) -> Tuple[List[JobView], int]:
    """Return the first views that fit into `room` bytes of a header, and how many do not. Pure."""
    used = 0
    for position, view in enumerate(views):
        used += _json_size(view)
        if used > room:
            return views[:position], len(views) - position
    return views, 0


def _chosen(context: Context, args: Mapping[str, Any]) -> List[JobSpec]:
    ids: Optional[List[str]] = args["ids"]
    if ids is not None:
        return context.find_all(ids)
    submission = args.get("submission")
    specs = context.jobs(args.get("project"), submission)
    if args.get("newest") and specs:
        # Sought here: the views of a long history are megabytes, and reading them takes seconds.
        newest = max(specs, key=lambda spec: spec["submitted_at"])["submission"]
        specs = [spec for spec in specs if spec["submission"] == newest]
    if submission is not None and not specs:
        raise AgentFault("not_found", "there is no submission {} on this host".format(submission))
    return specs


def _cancel_one(context: Context, spec: JobSpec, by: str) -> None:
    facts = load_facts(context.paths, spec)
    if is_final(fold(facts, time.time()).state) or cancel_stands(facts.cancel, facts.retries):
        return
    place = context.paths.job(spec["id"])
    atomic.make_folder(place.folder)
    crash("cancel.before")
    # Later than every request to try again, also when the clock was set back.
    at = max([time.time()] + [each.at + _TICK for each in facts.retries])
    atomic.write_json(place.cancel, {"at": at, "by": by})
    crash("cancel.written")


def _retry_one(context: Context, spec: JobSpec, request: str) -> None:
    facts = load_facts(context.paths, spec)
    place = context.paths.job(spec["id"])
    path = place.retry(request)
    if not is_final(fold(facts, time.time()).state) or os.path.exists(path):
        return
    if facts.attempts and (facts.attempts[-1].end or {}).get("reason") == "moved":
        return  # it is another host's job now, and would run on both
    atomic.make_folder(place.folder)
    cancelled_at = (facts.cancel or {}).get("at")
    after_cancel = [cancelled_at + _TICK] if isinstance(cancelled_at, (int, float)) else []
    number = facts.attempts[-1].number if facts.attempts else 0
    crash("retry.before")
    atomic.create_json(path, {"at": max([time.time(), *after_cancel]), "after": number})
    crash("retry.written")


def _states(context: Context, specs: List[JobSpec]) -> Dict[str, str]:
    return {view["id"]: view["state"] for view in context.views.views(specs)}


def _is_news(told: Optional[Tuple[str, JobView, float]], view: JobView, now: float) -> bool:
    if told is None:
        return True
    essence, before, at = told
    if essence != _essence(view):
        return True
    return before != view and now - at >= SMALL_CHANGE_SECONDS


def _essence(view: JobView) -> str:
    """Return what is told at once when it changes: everything but progress and the lengths of logs."""
    attempts = [(each["number"], each["state"], each["reason"], each["started_at"]) for each in view["attempts"]]
    parts = (
        view["state"],
        view["reason"],
        view["detail"],
        view["waiting_for"],
        view["env_digest"],
        view["hints"],
        attempts,
    )
    return repr(parts)


def _batches(views: Iterable[JobView]) -> Iterable[List[JobView]]:
    batch: List[JobView] = []
    used = 0
    for view in views:
        size = _json_size(view)
        if batch and used + size > FRAME_ROOM:
            yield batch
            batch, used = [], 0
        batch.append(view)
        used += size
    if batch:
        yield batch


def _json_size(view: JobView) -> int:
    return len(json.dumps(view, separators=(",", ":"))) + 1


def _load() -> Optional[float]:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
