"""Methods that take waiting jobs to another host: what they are, that they are withdrawn here, and their code."""

from __future__ import annotations

import json
import os
import time
import zlib
from typing import Any, Dict, List, Mapping, Set

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.run.claim import lock_attempt
from remote_payload.agent.run.endfile import EndFile
from remote_payload.agent.spool import atomic, states
from remote_payload.agent.spool.fold import JobFacts, fold
from remote_payload.agent.spool.keeper_start import poke
from remote_payload.agent.spool.packs import PackReader, in_pack_order
from remote_payload.agent.spool.submissions import load_facts
from remote_payload.agent.spool.workdir import read_manifest
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.messages import JobSpec
from remote_payload.agent.wire.session import Answer, Call

PIECE = 64 * 1024


def specs(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Return jobs as they were submitted, and the manifests of their code; the body is zlib'd JSON."""
    del call
    found = context.find_all(args["ids"])
    manifests = {snapshot: read_manifest(context.paths, snapshot) for snapshot in {spec["snapshot"] for spec in found}}
    text = json.dumps({"specs": found, "manifests": manifests}, separators=(",", ":")).encode("ascii")
    return Answer({"count": len(found)}, zlib.compress(text, 1))


def withdraw(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Let waiting jobs go to another host: from now on nothing starts them here.

    The same request twice is answered the same. A job that is not waiting, or that stays together with one that does
    not go, is refused and left as it is.
    """
    del call
    chosen = {spec["id"]: spec for spec in context.find_all(args["ids"])}
    refused = _bound(context, chosen)
    withdrawn: List[str] = []
    for job, spec in chosen.items():
        why = refused.get(job) or _withdraw_one(context, spec, args["request"], args["to"])
        if why:
            refused[job] = why
        else:
            withdrawn.append(job)
    if withdrawn:
        poke(context.paths)
    return Answer({"withdrawn": withdrawn, "refused": refused})


def read_blobs(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Stream the contents of stored files, as they are before any packing."""
    wanted: List[str] = args["hashes"]
    index = context.packs()
    places = {}
    for sha256 in wanted:
        blob = index.find(sha256)
        if blob is None:
            raise AgentFault("not_found", "the file {} is not stored here".format(sha256[:12]))
        places[sha256] = blob
    numbers = {sha256: number for number, sha256 in enumerate(wanted)}
    with PackReader(context.paths) as reader:
        for sha256, blob in in_pack_order(places.items()):

            def send(piece: bytes, number: int = numbers[sha256]) -> None:
                at = 0
                while at < len(piece):
                    part = piece[at : at + min(PIECE, call.room())]
                    call.send(part, n=number)
                    at += len(part)

            reader.copy(blob, sha256, send, args["sizes"][numbers[sha256]])
    return Answer({"count": len(wanted)})


def prioritise(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Change the place of waiting jobs in the queue."""
    del call
    paths = context.own()
    changed = []
    for spec in context.find_all(args["ids"]):
        if fold(load_facts(paths, spec), time.time()).state == states.PENDING:
            place = paths.job(spec["id"])
            atomic.make_folder(place.folder)
            atomic.write_json(place.priority, {"priority": args["priority"], "by": args["by"], "at": time.time()})
            changed.append(spec["id"])
    poke(paths)
    return Answer({"changed": changed})


def _withdraw_one(context: Context, spec: JobSpec, request: str, to: str) -> str:
    """Return "" once the job is withdrawn, else why it stays."""
    facts = load_facts(context.paths, spec)
    if _withdrawn_by(facts, request):
        return ""
    state = fold(facts, time.time())
    last = facts.attempts[-1] if facts.attempts else None
    # Claimed by somebody who was killed before anything began: by a keeper, or by this very request.
    left = state.state == states.STARTING and last is not None and last.start is None and not last.alive
    if state.state != states.PENDING and not left:
        return "it is {}".format(state.state)
    # Who holds the attempt's lock decides alone: the keeper takes it before it starts anything, and looks for an end.
    place = context.paths.attempt(spec["id"], state.attempt if left else state.attempt + 1)
    os.makedirs(place.folder, mode=0o700, exist_ok=True)
    lock = lock_attempt(place.lock)
    if lock is None:
        return "it is starting"
    try:
        if os.path.exists(place.end) or os.path.exists(place.start):
            return "it has started"
        end = {"reason": "moved", "exit_code": None, "signal": None, "detail": "to {}".format(to), "request": request}
        crash("withdraw.locked")
        EndFile(place.end).write_now({**end, "ended_at": time.time(), "started": False})
        crash("withdraw.written")
    finally:
        os.close(lock)
    return ""


def _withdrawn_by(facts: JobFacts, request: str) -> bool:
    end = facts.attempts[-1].end if facts.attempts else None
    return end is not None and end.get("reason") == "moved" and end.get("request") == request


def _bound(context: Context, chosen: Mapping[str, JobSpec]) -> Dict[str, str]:
    """Jobs that need each other stay on one host: {job: why it stays}, to be asked before anything is withdrawn."""
    refused: Dict[str, str] = {}
    for spec in chosen.values():
        outside = _needed(spec) - set(chosen)
        if outside:
            refused[spec["id"]] = "it needs {}, which stays here".format(", ".join(sorted(_names(context, outside))))
    for spec in context.recent():
        if spec["id"] in chosen or not _needed(spec) & set(chosen):
            continue
        if fold(load_facts(context.paths, spec), time.time()).state == states.PENDING:
            for job in _needed(spec) & set(chosen):
                refused[job] = "{} needs it and stays here".format(spec["name"])
    return refused


def _needed(spec: JobSpec) -> Set[str]:
    return {job for need in spec.get("needs") or [] for job in need["ids"]}


def _names(context: Context, jobs: Set[str]) -> List[str]:
    return [context.find(job)["name"] if context.stored(job) else job for job in jobs]
