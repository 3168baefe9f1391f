"""From a parsed jobs.yaml to frozen jobs: code scanned, ids made, everything fixed before a byte is sent."""

from __future__ import annotations

import hashlib
import json
import secrets as random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.ship.scan import HashCache, Tree, scan_tree
from orchestrator.spec.code import check_start, code_folder
from orchestrator.spec.expand import CodeSpec, ExpandedJob, JobsFile, setup_files, to_spec
from orchestrator.spec.needs import common_hosts
from remote_payload.agent.spool.manifests import canonical
from remote_payload.agent.wire.messages import JobSpec, Submission

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RESULTS = "results"
NOT_WORK = frozenset({"id", "submission", "submitted_at", "owner", "name", "hosts", "priority", "requires"})
"""Fields of a spec that say nothing of what the job does."""


def new_id(kind: str) -> str:
    """Return a fresh id, `s-…` or `j-…`: 50 random bits in letters that are hard to misread."""
    return f"{kind}-" + "".join(random.choice(_ALPHABET) for _ in range(10))


@dataclass(frozen=True)
class FrozenJob:
    """A job that will not change any more, its code, and where it may go."""

    spec: JobSpec
    tree: Tree
    expanded: ExpandedJob
    hosts: tuple[str, ...]


@dataclass
class Frozen:
    """One submission, frozen on the laptop.

    Args:
        id: the submission's id.
        file: what jobs.yaml said.
        jobs: in submission order.
        secrets: {job id: {NAME: value}}; never stored, never printed.
    """

    id: str
    file: JobsFile
    jobs: list[FrozenJob]
    created_at: float
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def trees(self) -> dict[str, Tree]:
        """The distinct code trees by snapshot id."""
        return {job.tree.snapshot_id: job.tree for job in self.jobs}

    def for_host(self, job_ids: Sequence[str], owner: str) -> Submission:
        """Return the part of the submission that goes to one host."""
        wanted = set(job_ids)
        return {
            "id": self.id,
            "project": self.file.project,
            "owner": owner,
            "created_at": self.created_at,
            "controller": socket.gethostname(),
            "path_on_controller": str(self.file.path),
            "jobs": [job.spec for job in self.jobs if job.spec["id"] in wanted],
        }


def freeze(
    file: JobsFile,
    hosts: Callable[[ExpandedJob], Sequence[str]],
    owner: str,
    cache: HashCache,
    values: Mapping[str, str],
    state: Path,
) -> Frozen:
    """Scan the code, make the ids, and return what will be sent.

    Args:
        file: the parsed jobs.yaml.
        hosts: which hosts a job may go to.
        owner: who submits.
        cache: hashes of files that did not change.
        values: secrets found on the laptop, by name.
        state: ORCH_HOME.

    Raises:
        UsageError: there is nothing to submit, or a code folder is missing.
    """
    if not file.jobs:
        raise UsageError(f"{file.path.name} leaves no job to submit", "Check the names given with -j and -m.")
    trees: dict[CodeSpec, Tree] = {}
    now = time.time()
    frozen = Frozen(new_id("s"), file, [], now)
    allowed = common_hosts(file.jobs, {job.name: hosts(job) for job in file.jobs})
    ids = {job.name: new_id("j") for job in file.jobs}
    cells: dict[str, list[str]] = {}
    for job in file.jobs:
        cells.setdefault(job.job, []).append(ids[job.name])
    for job in file.jobs:
        if job.code not in trees:
            trees[job.code] = _scan(file.folder, job.code, cache, state)
        tree = trees[job.code]
        check_start(job.code, tree.manifest["entries"])
        spec = to_spec(
            job,
            id=ids[job.name],
            submission=frozen.id,
            owner=owner,
            project=file.project,
            snapshot=tree.snapshot_id,
            submitted_at=now,
            setup_files=setup_files(job.setup, [entry["p"] for entry in tree.manifest["entries"]]),
            ids=cells,
        )
        spec["hosts"] = allowed[job.name]
        frozen.jobs.append(FrozenJob(spec, tree, job, tuple(spec["hosts"])))
        given = {secret["name"]: values[secret["name"]] for secret in spec["secrets"] if secret["name"] in values}
        if given:
            frozen.secrets[spec["id"]] = given
    return frozen


def _scan(folder: Path, code: CodeSpec, cache: HashCache, state: Path) -> Tree:
    root = code_folder(code, folder)
    return scan_tree(root, code.ignore, code.include, folder / RESULTS, cache, state)


def fingerprint(spec: JobSpec) -> str:
    """Return a digest of what the job does, the same for two submits of the same thing."""
    same = {k: v for k, v in spec.items() if k not in NOT_WORK}
    same["needs"] = [need["job"] for need in spec.get("needs") or ()]
    return hashlib.sha256(canonical(json.loads(json.dumps(same)))).hexdigest()
