"""Methods that bring results home: which files there are, and their bytes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zlib
from typing import Any, Mapping, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.manifests import check_path, path_bytes
from remote_payload.agent.spool.outputs import Outputs
from remote_payload.agent.spool.paths import JobPaths
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.session import Answer, Call

_STEP = 1024 * 1024


def outputs(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """List a job's results with their digests; the list is the body, zlib'd JSON."""
    del call
    listed = Outputs(context.paths, context.find(args["job"])).list()
    text = json.dumps(listed, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return Answer({"count": len(listed["files"])}, zlib.compress(text, 1))


def read_file(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Stream one file, then tell size and digest of the whole of it."""
    place = context.paths.job(context.find(args["job"])["id"])
    descriptor = open_file(place, args["root"], args["path"])
    try:
        size = os.fstat(descriptor).st_size
        offset: int = args["offset"]
        end = size if args["length"] is None else min(size, offset + args["length"])
        digest = hashlib.sha256()
        _hash(call, descriptor, digest, 0, min(offset, size))
        at = min(offset, size)
        while at < end:
            data = os.pread(descriptor, min(call.room(), end - at), at)
            if not data:
                break
            digest.update(data)
            call.send(data, offset=at)
            at += len(data)
        at += _hash(call, descriptor, digest, at, size)
        return Answer({"size": at, "sha256": digest.hexdigest()})
    finally:
        os.close(descriptor)


def read_files(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Stream many files one after the other; one that cannot be read is passed over, and its frame says why."""
    place = context.paths.job(context.find(args["job"])["id"])
    count = 0
    for position, (root, path, offset) in enumerate(args["files"]):
        try:
            descriptor = open_file(place, root, path)
        except AgentFault as fault:
            call.send(n=position, offset=offset, error=fault.message)
            continue
        try:
            _send_rest(call, descriptor, position, offset)
        finally:
            os.close(descriptor)
        count += 1
    return Answer({"count": count})


def open_file(place: JobPaths, root: str, path: str) -> int:
    """Open a plain file below one of a job's folders; no symlink on the way is followed.

    Args:
        place: the job.
        root: workdir, outputs, or attempt (then `path` begins with an attempt's number, or means the newest's).
        path: relative, with /.

    Raises:
        AgentFault: bad_request, not_found or refused.
    """
    try:
        check_path(path)
    except ValueError as error:
        raise AgentFault("bad_request", str(error)) from error
    folder, path = _root(place, root, path)
    parts = path_bytes(path).split(b"/")
    here = -1
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = deeper
        # O_NONBLOCK: opening a FIFO must not wait for somebody who writes.
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    except FileNotFoundError:
        raise AgentFault("not_found", "there is no file {!r} in the job's {}".format(path, root)) from None
    except OSError as error:
        raise AgentFault("refused", "the file {!r} cannot be read: {}".format(path, error.strerror)) from error
    finally:
        if here >= 0:
            os.close(here)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AgentFault("refused", "{!r} is no plain file".format(path))
    return descriptor


def _root(place: JobPaths, root: str, path: str) -> Tuple[str, str]:
    if root == "workdir":
        return place.workdir, path
    if root == "outputs":
        return place.outputs, path
    if root != "attempt":
        raise AgentFault("bad_request", "there is no root {!r}".format(root)[:200])
    first, _, rest = path.partition("/")
    if first.isdigit() and rest:
        return place.attempt(int(first)).folder, rest
    numbers = place.attempt_numbers()
    if not numbers:
        raise AgentFault("not_found", "the job has not started yet")
    return place.attempt(numbers[-1]).folder, path


def _send_rest(call: Call, descriptor: int, position: int, offset: int) -> None:
    end = os.fstat(descriptor).st_size
    at = offset
    while at < end:
        data = os.pread(descriptor, min(call.room(), end - at), at)
        if not data:
            return
        call.send(data, n=position, offset=at)
        at += len(data)
    if at == offset:
        call.send(n=position, offset=offset)


def _hash(call: Call, descriptor: int, digest: Any, at: int, end: int) -> int:
    """Add a part of a file to a digest; return how many bytes there were."""
    begin = at
    while at < end:
        data = os.pread(descriptor, min(_STEP, end - at), at)
        if not data:
            break
        digest.update(data)
        at += len(data)
        call.check()
    return at - begin
