"""Methods that take in code and submissions."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from typing import Any, Dict, List, Mapping, Optional, Set, cast

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.disk import disk_facts
from remote_payload.agent.spool import atomic, secrets
from remote_payload.agent.spool.keeper_start import start_keeper
from remote_payload.agent.spool.locks import holding
from remote_payload.agent.spool.manifests import FILE, canonical, check_manifest, manifest_id
from remote_payload.agent.spool.packs import PackWriter
from remote_payload.agent.spool.pins import pin
from remote_payload.agent.spool.specs import check_submission
from remote_payload.agent.spool.submissions import load_facts
from remote_payload.agent.spool.workdir import read_manifest
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.messages import JobSpec, Manifest, Submission
from remote_payload.agent.wire.session import Answer, Call

MAX_REQUEST = 512 * 1024 * 1024
"""Bytes of an unpacked enqueue request."""
MAX_MISSING = 50_000
"""Digests named in one answer; a controller that sends these and asks again hears of the rest."""
SPARE_BYTES = 64 * 1024 * 1024
"""Room that an upload must leave on the disk: a full one stops every job."""


def have(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Tell what is here, and keep that for a day."""
    del call
    paths = context.paths
    with holding(paths.gc_lock, exclusive=False):
        here = [each for each in args["snapshots"] if os.path.exists(paths.snapshot(each))]
        index = context.packs()
        pin(paths, [*here, *index.packs_of(args["blobs"])])
        return Answer({"snapshots": here, "missing": index.missing(args["blobs"])[:MAX_MISSING]})


def put_pack(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Store a pack of blobs."""
    paths = context.paths
    free = disk_facts(paths.root)["free"]
    if free is not None and args["size"] + SPARE_BYTES > free:
        raise AgentFault(
            "disk_full",
            "the code needs {:.0f} MB and the host's disk has {:.0f} MB left".format(args["size"] / 1e6, free / 1e6),
            "make room (orch gc), or move the queue to a larger disk",
        )
    writer = PackWriter(paths, args["size"], args["index_size"], args["sha256"])
    try:
        data = call.receive()
        while data is not None:
            writer.add(data)
            data = call.receive()
        with holding(paths.gc_lock, exclusive=False):
            return Answer({"stored": writer.finish()})
    finally:
        writer.close()


def enqueue(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Store a submission; the rename of its file is the acknowledgement."""
    paths = context.own()
    request = unpacked(call.body)
    submission = check_submission(request.get("submission"))
    if hashlib.sha256(canonical(submission)).hexdigest() != args["digest"]:
        raise AgentFault("bad_request", "the submission is not what its digest says")
    if _is_stored(context, submission["id"], args["digest"]):
        _take_back(context, submission)
        return Answer({"acknowledged": True, "keeper": start_keeper(paths)})
    for spec in submission["jobs"]:
        if context.stored(spec["id"]) and _gone_since(context, spec) is None:
            raise AgentFault("conflict", "the job {} is on this host already".format(spec["id"]))
    manifests = manifests_of(context, submission, request.get("manifests"))
    with holding(paths.gc_lock, exclusive=False):
        missing = context.packs().missing(blobs_of(manifests))
        if missing:
            return Answer({"acknowledged": False, "missing": missing[:MAX_MISSING]})
        _store(context, submission, manifests, request.get("secrets"), args["digest"])
        _take_back(context, submission)
    crash("enqueue.before_keeper")
    return Answer({"acknowledged": True, "keeper": start_keeper(paths)})


def _store(context: Context, submission: Submission, manifests: Dict[str, Manifest], values: Any, digest: str) -> None:
    paths = context.paths
    given = values if isinstance(values, dict) else {}
    for spec in submission["jobs"]:
        named = given.get(spec["id"])
        if isinstance(named, dict) and all(isinstance(value, str) for value in named.values()):
            secrets.store(paths, spec, named)
    for snapshot, manifest in manifests.items():
        if not os.path.exists(paths.snapshot(snapshot)):
            atomic.write_bytes(paths.snapshot(snapshot), canonical(manifest))
    crash("enqueue.before")
    if not atomic.create_json(paths.submission(submission["id"]), {**submission, "digest": digest}):
        # Somebody else (the same controller over another line) stored it meanwhile.
        _is_stored(context, submission["id"], digest)
    crash("enqueue.stored")


def _gone_since(context: Context, spec: JobSpec) -> Optional[int]:
    """Return the attempt as which a job was moved away from here, None when it was not."""
    facts = load_facts(context.paths, context.find(spec["id"]))
    last = facts.attempts[-1] if facts.attempts else None
    return last.number if last is not None and (last.end or {}).get("reason") == "moved" else None


def _take_back(context: Context, submission: Submission) -> None:
    """Let jobs that were moved away from here and come back be tried again. May be repeated."""
    for spec in submission["jobs"]:
        number = _gone_since(context, spec)
        if number is not None:
            place = context.paths.job(spec["id"])
            atomic.create_json(place.retry(submission["id"]), {"at": time.time(), "after": number})


def _is_stored(context: Context, submission: str, digest: str) -> bool:
    stored = atomic.read_json(context.paths.submission(submission))
    if stored is None:
        return False
    if stored.get("digest") != digest:
        raise AgentFault(
            "conflict",
            "another submission {} is on this host already".format(submission),
            "submit again: it gets a new id",
        )
    return True


def unpacked(body: bytes) -> Dict[str, Any]:
    """Return the object that a zlib'd JSON body holds.

    Raises:
        AgentFault: bad_request.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(body, MAX_REQUEST)
        request = json.loads(text.decode("utf-8")) if unpacker.eof else None
    except (zlib.error, ValueError, RecursionError) as error:
        raise AgentFault("bad_request", "the request cannot be unpacked: {}".format(error)) from error
    if not isinstance(request, dict):
        raise AgentFault("bad_request", "the request is no object, is cut short or too large")
    return request


def manifests_of(context: Context, submission: Submission, given: Any) -> Dict[str, Manifest]:
    """Return the manifest of every snapshot the jobs start from, checked; those not sent must be here."""
    sent = given if isinstance(given, dict) else {}
    found: Dict[str, Manifest] = {}
    for spec in submission["jobs"]:
        snapshot = spec["snapshot"]
        if snapshot in found:
            continue
        manifest = sent.get(snapshot)
        if manifest is None:
            found[snapshot] = read_manifest(context.paths, snapshot)
            continue
        try:
            check_manifest(manifest)
        except ValueError as error:
            raise AgentFault("bad_request", "a manifest is refused: {}".format(error)) from error
        if manifest_id(manifest) != snapshot:
            raise AgentFault("bad_request", "a manifest is not what its digest says")
        found[snapshot] = cast(Manifest, manifest)
    return found


def blobs_of(manifests: Dict[str, Manifest]) -> List[str]:
    """Return the digests of all files of some manifests. Pure."""
    seen: Set[str] = set()
    for manifest in manifests.values():
        seen.update(entry["h"] for entry in manifest["entries"] if entry["t"] == FILE)
    return sorted(seen)
