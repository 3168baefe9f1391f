"""Methods that make a host ready for jobs without queueing them: code stored, environments built by their setups."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import Any, Dict, List, Mapping

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.run import envbuild
from remote_payload.agent.run.environments import resolve_python
from remote_payload.agent.run.jobenv import agent_environment
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.locks import holding
from remote_payload.agent.spool.manifests import canonical
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.spool.pins import pin
from remote_payload.agent.spool.place import agent_dir
from remote_payload.agent.spool.specs import check_submission
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.messages import JobSpec, Manifest
from remote_payload.agent.wire.methods_code import MAX_MISSING, blobs_of, manifests_of, unpacked
from remote_payload.agent.wire.methods_follow import open_log
from remote_payload.agent.wire.session import Answer, Call

POLL_SECONDS = 0.05
START_SECONDS = 5.0
"""How long a builder may take to lock its environment before it counts as gone."""


def prepare(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Store the code of jobs and start the setups that are not done; nothing is queued. May be repeated."""
    del args
    paths = context.own()
    request = unpacked(call.body)
    submission = check_submission(request.get("submission"))
    manifests = manifests_of(context, submission, request.get("manifests"))
    blobs = blobs_of(manifests)
    with holding(paths.gc_lock, exclusive=False):
        index = context.packs()
        missing = index.missing(blobs)
        if missing:
            return Answer({"missing": missing[:MAX_MISSING], "environments": []})
        for snapshot, manifest in manifests.items():
            if not os.path.exists(paths.snapshot(snapshot)):
                atomic.write_bytes(paths.snapshot(snapshot), canonical(manifest))
        pin(paths, [*manifests, *index.packs_of(blobs)])
    wanted: Dict[str, List[str]] = {}
    for spec in submission["jobs"]:
        if spec["setup"] is not None:
            digest = _begin(context, spec, manifests[spec["snapshot"]])
            wanted.setdefault(digest, []).append(spec["name"])
    return Answer({"missing": [], "environments": [{"digest": each, "jobs": wanted[each]} for each in wanted]})


def setup_log(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Stream the log of a setup that was begun until it is over; tell how it ended."""
    paths, digest, offset = context.paths, args["digest"], args["offset"]
    idle = 0.0
    while True:
        # First how it ended, then what there is: what was written before the end is never missed.
        ready, failed = envbuild.outcome(paths, digest)
        running = envbuild.builder_pid(paths.env(digest).building) is not None
        offset = _send_new(call, paths.env(digest).log, offset)
        if ready is not None:
            return Answer({"ready": True, "detail": "", "exit_code": 0})
        if failed is not None and not running:
            detail = str(failed.get("detail") or "")
            return Answer({"ready": False, "detail": detail, "exit_code": failed.get("exit_code")})
        idle = 0.0 if running else idle + POLL_SECONDS
        if idle > START_SECONDS:
            return Answer({"ready": False, "detail": "it was ended before it was done", "exit_code": None})
        call.pause(POLL_SECONDS)


def _begin(context: Context, spec: JobSpec, manifest: Manifest) -> str:
    """Start the setup of a job unless it is done or runs; return its environment's digest."""
    paths = context.paths
    found = resolve_python(spec["python"], context.conda_roots)
    digest = envbuild.env_digest(spec, found, envbuild.blobs_of(manifest))
    place = paths.env(digest)
    if os.path.exists(place.ready) or envbuild.builder_pid(place.building) is not None:
        return digest
    atomic.make_folder(place.folder)
    # What failed before is no answer to this wish.
    for old in (place.failed, place.log):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old)
    atomic.write_json(place.request, envbuild.request_of(spec, found))
    _start(paths, digest)
    return digest


def _start(paths: SpoolPaths, digest: str) -> None:
    argv = [sys.executable, "-I", "-S", agent_dir(), "build-env", paths.root, digest]
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=agent_environment(os.environ), cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise AgentFault("internal", "the setup could not be started: {}".format(error)) from error
    # It outlives this connection: nobody waits for it here, its lock tells whether it lives.
    process.returncode = 0


def _send_new(call: Call, log: str, offset: int) -> int:
    descriptor = open_log(log)
    if descriptor is None:
        return offset
    try:
        while True:
            data = os.pread(descriptor, call.room(), offset)
            if not data:
                return offset
            call.send(data, offset=offset)
            offset += len(data)
    finally:
        os.close(descriptor)
