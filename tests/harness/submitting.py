"""A job handed to a host the way `orch submit` does it, without jobs.yaml."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.link_types import Enqueued
from orchestrator.ship.pack import plan_packs
from orchestrator.ship.scan import Tree, scan_tree
from remote_payload.agent.spool.manifests import canonical
from remote_payload.agent.wire.messages import JobSpec, JobView, Submission


def new_id(kind: str) -> str:
    """Return a fresh id, `s-…` or `j-…`."""
    return f"{kind}-{secrets.token_hex(5)}"


def job_spec(submission: str, snapshot: str, run: str, **changes: Any) -> JobSpec:
    """Return a spec of a CPU job that runs `run`, with any field changed."""
    spec: JobSpec = {
        "id": new_id("j"),
        "name": "tiny",
        "job": "tiny",
        "project": "test",
        "submission": submission,
        "owner": "me",
        "params": {},
        "run": run,
        "setup": None,
        "python": {"kind": "auto"},
        "snapshot": snapshot,
        "dir": ".",
        "env": {},
        "secrets": [],
        "gpus": 0,
        "gpu_memory_mib": 0,
        "outputs": "auto",
        "pull": "auto",
        "timeout": None,
        "grace": 10.0,
        "requires": [],
        "submitted_at": time.time(),
        "needs": [],
        "priority": 0,
        "max_parallel": 0,
        "max_failures": 0,
        "no_output": None,
        "retry": {"max": 0, "on": [], "backoff": 30.0},
        "gpu_type": "",
    }
    return cast(JobSpec, {**spec, **changes})


class Sent:
    """One submission of one job.

    Args:
        folder: the code.
        run: the job's command.
        values: its secrets.
        changes: fields of the spec that differ from `job_spec`.
    """

    def __init__(self, folder: Path, run: str, values: Mapping[str, str] | None = None, **changes: Any) -> None:
        self.tree: Tree = scan_tree(folder)
        self._tmp = folder.parent / "packs.tmp"
        self.id = new_id("s")
        self.spec = job_spec(self.id, self.tree.snapshot_id, run, **changes)
        self.values = dict(values or {})

    @property
    def job(self) -> str:
        """The job's id."""
        return self.spec["id"]

    @property
    def submission(self) -> Submission:
        """What is stored on the host."""
        return {
            "id": self.id,
            "project": self.spec["project"],
            "owner": self.spec["owner"],
            "created_at": self.spec["submitted_at"],
            "controller": "test",
            "path_on_controller": "/nowhere/jobs.yaml",
            "jobs": [self.spec],
        }

    @property
    def digest(self) -> str:
        """Digest of the submission."""
        return hashlib.sha256(canonical(self.submission)).hexdigest()

    @property
    def body(self) -> bytes:
        """What `enqueue` takes."""
        whole = {
            "submission": self.submission,
            "manifests": {self.tree.snapshot_id: self.tree.manifest},
            "secrets": {self.job: self.values} if self.values else {},
            "missing_ok": False,
        }
        return zlib.compress(json.dumps(whole).encode())

    def send(self, link: AgentLink) -> Enqueued:
        """Enqueue, upload what is missing, enqueue again; return the acknowledgement."""
        reply = link.enqueue(self.digest, self.body)
        if reply["acknowledged"]:
            return reply
        for pack in plan_packs(self.tree, set(reply["missing"]), self._tmp):
            with pack:
                link.put_pack(self.id, pack)
        reply = link.enqueue(self.digest, self.body)
        assert reply["acknowledged"], reply
        return reply


def wait_final(link: AgentLink, job: str) -> JobView:
    """Watch a job until it is final; return its last view."""
    last: JobView | None = None
    for views in link.watch([job]):
        for view in views:
            if view["id"] == job:
                last = view
    assert last is not None
    return last
