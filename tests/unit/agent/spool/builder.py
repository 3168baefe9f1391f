"""A spool made by hand: code, submissions, attempts, written as the agent writes them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.manifests import canonical, manifest_id
from remote_payload.agent.spool.packs import PackWriter
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import Entry, JobSpec, Manifest, PackEntry
from tests.harness.submitting import job_spec, new_id


def sha(data: bytes) -> str:
    """Return the digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def file_entry(path: str, data: bytes, executable: bool = False) -> Entry:
    """Return the manifest entry of a file."""
    return {"p": path, "t": "f", "x": executable, "s": len(data), "h": sha(data)}


def pack_parts(blobs: list[bytes], packed: bool = True) -> tuple[bytes, bytes]:
    """Return (index part, blob part) of a pack's stream."""
    entries: list[PackEntry] = []
    stream = b""
    for data in blobs:
        stored = zlib.compress(data) if packed else data
        entries.append({"h": sha(data), "o": len(stream), "s": len(stored), "z": packed})
        stream += stored
    return zlib.compress(json.dumps(entries).encode()), stream


class Builder:
    """A spool in a folder.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = SpoolPaths(str(folder))
        for each in self.paths.folders():
            atomic.make_folder(each)

    def put(self, *blobs: bytes, packed: bool = True) -> str:
        """Store blobs as one pack; return its name."""
        index, stream = pack_parts(list(blobs), packed)
        name = sha(index + stream)
        writer = PackWriter(self.paths, len(stream), len(index), name)
        writer.add(index + stream)
        writer.finish()
        writer.close()
        return name

    def snapshot(self, files: Mapping[str, bytes], *more: Entry, executable: tuple[str, ...] = ()) -> str:
        """Store a code tree; return its id."""
        if files:
            self.put(*dict.fromkeys(files.values()))
        entries = [file_entry(path, data, path in executable) for path, data in files.items()]
        manifest: Manifest = {"version": 1, "entries": [*entries, *more]}
        snapshot = manifest_id(manifest)
        atomic.write_bytes(self.paths.snapshot(snapshot), canonical(manifest))
        return snapshot

    def submit(self, snapshot: str = "0" * 64, **changes: Any) -> JobSpec:
        """Store a submission of one job; return the job."""
        submission = new_id("s")
        spec = job_spec(submission, snapshot, "true", **changes)
        stored = {"id": submission, "project": "test", "owner": "me", "created_at": 1.0, "controller": "c",
                  "path_on_controller": "/x", "jobs": [spec], "digest": "d"}  # fmt: skip
        atomic.write_json(self.paths.submission(submission), stored)
        return spec

    def attempt(self, job: str, number: int, *, log: bytes = b"", **files: Any) -> None:
        """Write an attempt; `lease`, `start` and `end` are its files."""
        place = self.paths.attempt(job, number)
        os.makedirs(place.folder, exist_ok=True)
        Path(place.lock).touch()
        if log:
            Path(place.log).write_bytes(log)
        for name, value in files.items():
            atomic.write_json(getattr(place, name), value)

    def hold(self, path: str) -> int:
        """Lock a file as its owner does; return the descriptor."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor


def end(reason: str = "exit_zero", ended_at: float = 2.0, exit_code: int | None = 0) -> dict[str, Any]:
    """Return an end.json."""
    return {"reason": reason, "exit_code": exit_code, "signal": None, "detail": "", "ended_at": ended_at,
            "started": True}  # fmt: skip


def start(started_at: float = 1.0) -> dict[str, Any]:
    """Return a start.json."""
    return {"pid": 1, "sid": 1, "start_ticks": 1, "started_at": started_at, "boot": {}, "gpus": []}
