"""Methods about the host itself."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Dict, List, Mapping, Tuple, cast

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.facts import collect, hello_facts
from remote_payload.agent.machine.gpu import read_gpus
from remote_payload.agent.run.autostart import Place, switch
from remote_payload.agent.run.environments import expand, list_conda, resolve_python
from remote_payload.agent.spool import atomic, secrets
from remote_payload.agent.spool.fold import fold, is_final
from remote_payload.agent.spool.gc import DEFAULT_OLDER_THAN, Gc, Wish
from remote_payload.agent.spool.hostroot import adopt as adopt_spool
from remote_payload.agent.spool.hostroot import foreign_spools, open_spool
from remote_payload.agent.spool.keeper_start import keeper_view, poke, start_keeper
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.spool.states import PENDING
from remote_payload.agent.spool.submissions import Submissions, is_surely_over
from remote_payload.agent.spool.views import Views
from remote_payload.agent.wire.context import Context, agent_hash
from remote_payload.agent.wire.messages import GpuTable, JobSpec, PythonSpec
from remote_payload.agent.wire.protocol import PROTOCOL_VERSION
from remote_payload.agent.wire.session import Answer, Call

CAPABILITIES = ("setup", "secrets", "gpu_memory", "timeout")


def hello(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Tell who answers; nothing is run to find out."""
    del context, call
    paths = {path: os.path.exists(expand(path)) for path in args["probe"] or []}
    said = {"protocol": PROTOCOL_VERSION, "agent": agent_hash(), "paths": paths, "capabilities": list(CAPABILITIES)}
    return Answer({**hello_facts(), **said})


def open_(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Bind this connection to the host's spool."""
    del call
    profile: Dict[str, Any] = dict(args["profile"])
    spool = open_spool(profile)
    context.bind(spool, profile)
    unfinished = _live(context.views, spool.paths, context.recent())
    live = len(unfinished)
    if live and not spool.moved and not keeper_view(spool.paths)["alive"]:
        # After a reboot the queue goes on as soon as anybody looks.
        try:
            start_keeper(spool.paths)
        except AgentFault as fault:
            context.say("warning", fault.message)
    others = [{**each._asdict(), "jobs_live": _live_elsewhere(each.root)} for each in foreign_spools(spool)]
    return Answer(
        {
            "host_id": spool.host_id,
            "root": spool.paths.root,
            "keeper": keeper_view(spool.paths),
            "jobs_live": live,
            "secrets_needed": {} if spool.moved else _secrets_needed(spool.paths, unfinished),
            "owner": spool.owner,
            "moved": spool.moved,
            "others": others,
        }
    )


def _live(views: Views, paths: SpoolPaths, specs: List[JobSpec]) -> List[Tuple[JobSpec, str]]:
    """Return the jobs that are not final, each with its state."""
    unsure = [spec for spec in specs if not is_surely_over(paths, spec["id"])]
    states = [view["state"] for view in views.views(unsure)]
    return [(spec, state) for spec, state in zip(unsure, states) if not is_final(state)]


def _secrets_needed(paths: SpoolPaths, live: List[Tuple[JobSpec, str]]) -> Dict[str, List[str]]:
    """Return {job: names} of what waits for secrets: after a reboot, those that were in memory are gone."""
    needed = {spec["id"]: secrets.missing(paths, spec) for spec, state in live if state == PENDING and spec["secrets"]}
    return {job: names for job, names in needed.items() if names}


def _live_elsewhere(root: str) -> int:
    """Return how many jobs of another host's queue have not ended; 0 when it cannot be read."""
    paths = SpoolPaths(root)
    try:
        return len(_live(Views(paths, moved=True), paths, Submissions(paths).recent(float("inf"))))
    except (AgentFault, OSError):
        return 0


def adopt(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Make another host's spool this host's own, and let its queue go on here."""
    del call
    spool = adopt_spool(context.spool, args["host_id"], args["by"])
    context.bind(spool, context.profile)
    return Answer({"host_id": spool.host_id, "root": spool.paths.root, "keeper": start_keeper(spool.paths)})


def pause(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Let nothing new start on this host, or let it go on."""
    del call
    paths = context.own()
    if args["on"]:
        atomic.create_json(paths.paused, {"at": time.time(), "by": args["by"]})
        poke(paths)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.paused)
        start_keeper(paths)
    return Answer({"paused": os.path.exists(paths.paused)})


def autostart(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Let the queue go on by itself after a reboot, or no more."""
    del call
    paths = context.own() if args["on"] else context.paths
    hook = context.profile.get("boot_hook")
    place = Place(paths, context.spool.host_id, hook if isinstance(hook, str) else None, os.path.expanduser("~"))
    return Answer(switch(place, args["on"]))


def ping(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Show a sign of life."""
    del context, call, args
    return Answer({"time": time.time()})


def shutdown(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """End this connection's agent; the keeper and all jobs stay."""
    del call, args
    context.leave()
    return Answer({})


def gpus(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Return the GPUs as they are now."""
    del call, args
    return Answer(dict(gpu_table(context)))


def facts(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Return what `orch check` shows."""
    del call
    python = cast(PythonSpec, args["python"] or {"kind": "auto"})
    where = context.paths.root if context.is_open else os.path.expanduser("~")
    return Answer(collect(args["deep"], python, context.conda_roots, context.search_path, where))


def resolve(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Find the Python a job would get."""
    del call
    profile = args["profile"] if args["profile"] is not None else context.profile
    roots = profile.get("conda_roots") or []
    found = resolve_python(args["python"], roots)
    names = [env["name"] for env in list_conda(roots)]
    said = {"prefix": found.prefix, "python": found.python, "version": found.version, "kind": found.kind}
    return Answer({**said, "conda_envs": names})


def gc(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Free space."""
    del call
    older = DEFAULT_OLDER_THAN if args["older_than"] is None else float(args["older_than"])
    return Answer(Gc(context.paths, Wish(args["dry_run"], args["unpulled"], older)).run())


def gpu_table(context: Context) -> GpuTable:
    """Return the GPUs, each with the job that holds it."""
    table = read_gpus(path=context.search_path)
    if context.is_open and table["gpus"]:
        holders = _holders(context)
        for gpu in table["gpus"]:
            gpu["leased_to"] = holders.get(gpu["uuid"], gpu["leased_to"])
    return table


def _holders(context: Context) -> Dict[str, str]:
    """Return GPU uuid -> job, of the attempts that have not ended."""
    holders: Dict[str, str] = {}
    for spec in context.recent():
        known = context.views.facts(spec)
        last = known.attempts[-1] if known.attempts else None
        if last is None or last.end is not None or is_final(fold(known, time.time()).state):
            continue
        for gpu in (last.lease or {}).get("gpus") or []:
            holders[str(gpu.get("uuid"))] = spec["id"]
    return holders
