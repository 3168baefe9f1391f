"""Moving jobs that wait: withdrawn on one host, then submitted on another; on neither for a moment, never on both.

What is to be moved is written down on the laptop before anything is withdrawn, and the withdrawn job stands on the host
it left, so that whatever dies in between, `orch submit --resume` finishes it.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.api.arrange import load_of, wish_of
from orchestrator.api.core import Orch
from orchestrator.api.find import Located
from orchestrator.api.freeze import fingerprint, new_id
from orchestrator.api.submit import SentBytes, hand_over, pack_request
from orchestrator.errors import AgentError, RefusedError
from orchestrator.paths import private_folder
from orchestrator.plan import Waiting, balance, fits
from orchestrator.remote.agent_link import AgentLink
from orchestrator.ship.scan import Blob, Tree
from orchestrator.spec.jobs import HostEntry
from orchestrator.store import PLANNED
from remote_payload.agent.spool.states import PENDING
from remote_payload.agent.wire.messages import JobSpec, Manifest, Submission

SecretValues = Callable[[Iterable[str]], Mapping[str, str]]
"""Returns the secrets of some names that are set on the laptop."""


@dataclass
class Moved:
    """What became of a wish to move jobs.

    Args:
        moved: ids of the jobs that wait on the other host now.
        refused: {job id: why it stays where it is}.
    """

    moved: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def move(
    orch: Orch, jobs: Sequence[Located], to: str, values: SecretValues, progress: SentBytes | None = None
) -> Moved:
    """Move waiting jobs to a host.

    Args:
        jobs: any; those that do not wait are refused.
        to: the host's name.
        values: finds secrets on the laptop.
        progress: told how far the code is.

    Raises:
        HostError: a host cannot be reached; what was withdrawn already is finished by `orch submit --resume`.
    """
    result = Moved()
    target = orch.link(to)
    groups: dict[str, list[str]] = {}
    for job in jobs:
        if job.host == to:
            result.refused[job.view["id"]] = f"it is on {to} already"
        else:
            groups.setdefault(job.host, []).append(job.view["id"])
    for source, ids in groups.items():
        specs, manifests = orch.link(source).specs(ids)
        able = _able(specs, target, orch.host(to), result)
        if able:
            submission = _write_down(orch, able, source, to)
            _finish(orch, submission, to, manifests, values, progress, result)
    return result


def balanced(orch: Orch) -> dict[str, list[Located]]:
    """Return the waiting jobs of this person that would start sooner on another host, by that host."""
    loads, waiting, found = {}, [], {}
    for name, answer in orch.ask(lambda link: link.status(since=time.time())).items():
        if answer.value is not None:
            loads[name] = load_of(orch.host(name), answer.value)
            mine = [job for job in answer.value["jobs"] if job["state"] == PENDING and job["owner"] == orch.owner]
            found.update({job["id"]: Located(name, job) for job in mine})
    for name in loads:
        ids = [ident for ident, job in found.items() if job.host == name]
        specs = orch.link(name).specs(ids)[0] if ids else []
        waiting += [Waiting(wish_of(spec, spec.get("hosts") or (name,)), name) for spec in specs]
    waiting.sort(key=lambda job: found[job.wish.key].view["submitted_at"])
    there: dict[str, list[Located]] = {}
    for ident, host in balance(waiting, loads).items():
        there.setdefault(host, []).append(found[ident])
    return there


def finish(orch: Orch, submission: Submission, to: str, values: SecretValues, state: str) -> list[str]:
    """Go on with a move that was interrupted; returns the ids that wait on the other host now.

    Args:
        submission: as it was written down.
        to: where it goes.
        values: finds secrets on the laptop.
        state: how far it was (store.PLANNED: perhaps nothing was withdrawn yet).
    """
    result = Moved()
    specs = submission["jobs"]
    manifests = orch.link(submission["moved_from"]).specs([spec["id"] for spec in specs])[1]
    if state != PLANNED:
        _send(orch, submission, to, manifests, values, None)
        return [spec["id"] for spec in specs]
    _finish(orch, submission, to, manifests, values, None, result)
    return result.moved


def _able(specs: Sequence[JobSpec], target: AgentLink, to: HostEntry, result: Moved) -> list[JobSpec]:
    load = load_of(to, target.status(since=time.time()))
    moving = {spec["id"] for spec in specs}
    able = []
    for spec in specs:
        missing = [need["job"] for need in spec.get("needs") or () if not moving.issuperset(need["ids"])]
        if missing:
            result.refused[spec["id"]] = f"it needs {', '.join(missing)} on the same host: name all of them"
        elif fits(wish_of(spec, (to.name,)), load):
            able.append(spec)
        else:
            result.refused[spec["id"]] = f"it could never run on {to.name}, which has {len(load.gpu_memory_mib)} GPUs"
    return able


def _write_down(orch: Orch, specs: Sequence[JobSpec], source: str, to: str) -> Submission:
    submission: Submission = {
        "id": new_id("s"),
        "project": specs[0]["project"],
        "owner": orch.owner,
        "created_at": time.time(),
        "controller": socket.gethostname(),
        "path_on_controller": str(orch.folder),
        "jobs": list(specs),
        "moved_from": source,
    }
    orch.store.save_submission(
        submission["id"],
        project=submission["project"],
        folder=str(orch.folder),
        created_at=submission["created_at"],
        jobs=[(spec["id"], spec["name"], to, fingerprint(spec)) for spec in specs],
        frozen={to: submission},
    )
    return submission


def _finish(
    orch: Orch,
    submission: Submission,
    to: str,
    manifests: Mapping[str, Manifest],
    values: SecretValues,
    progress: SentBytes | None,
    result: Moved,
) -> None:
    source = submission["moved_from"]
    said = orch.link(source).withdraw([spec["id"] for spec in submission["jobs"]], submission["id"], to)
    result.refused.update(said["refused"])
    gone = set(said["withdrawn"])
    narrowed: Submission = {**submission, "jobs": [spec for spec in submission["jobs"] if spec["id"] in gone]}
    orch.store.narrow(submission["id"], to, narrowed, stays=dict.fromkeys(said["refused"], source))
    if gone:
        _send(orch, narrowed, to, manifests, values, progress)
        result.moved += [spec["id"] for spec in narrowed["jobs"]]


def _send(
    orch: Orch,
    submission: Submission,
    to: str,
    manifests: Mapping[str, Manifest],
    values: SecretValues,
    progress: SentBytes | None,
) -> None:
    wanted = {spec["snapshot"]: manifests[spec["snapshot"]] for spec in submission["jobs"]}
    found = values({one["name"] for spec in submission["jobs"] for one in spec["secrets"]})
    secrets = {
        spec["id"]: {one["name"]: found[one["name"]] for one in spec["secrets"] if one["name"] in found}
        for spec in submission["jobs"]
    }
    target = orch.link(to)
    with tempfile.TemporaryDirectory(dir=private_folder(orch.home / "tmp"), prefix="move-") as folder:
        sizes = {entry["h"]: entry["s"] for one in wanted.values() for entry in one["entries"] if entry["t"] == "f"}
        missing = target.have(list(wanted), list(sizes))["missing"]
        blobs = _fetch(orch.link(submission["moved_from"]), {sha: sizes[sha] for sha in missing}, Path(folder))
        trees = {snapshot: _tree(snapshot, manifest, blobs) for snapshot, manifest in wanted.items()}
        hand_over(orch, target, pack_request(submission, wanted, secrets), trees, progress)


def _fetch(source: AgentLink, wanted: Mapping[str, int], folder: Path) -> dict[str, Blob]:
    """The blobs the new host lacks come from the old one: the folder here may have changed since."""
    for sha in wanted:
        (folder / sha).touch()
    if wanted:
        for sha, data in source.read_blobs(wanted):
            with (folder / sha).open("ab") as file:
                file.write(data)
    for sha, size in wanted.items():
        if (folder / sha).stat().st_size != size:
            raise AgentError(f"{source.name} sent a file of another size than it has", host=source.name)
    return {sha: Blob(str(folder / sha), size, crlf=False, name=sha) for sha, size in wanted.items()}


def _tree(snapshot: str, manifest: Manifest, blobs: Mapping[str, Blob]) -> Tree:
    mine = {entry["h"] for entry in manifest["entries"] if entry["t"] == "f"}
    return Tree(manifest, snapshot, {sha: blob for sha, blob in blobs.items() if sha in mine}, [], 0, 0)


def prioritise(orch: Orch, jobs: Sequence[Located], priority: int) -> list[str]:
    """Give waiting jobs another priority; returns the ids of those that still waited.

    Raises:
        RefusedError: none of them waits.
        HostError: a host cannot be reached.
    """
    groups: dict[str, list[str]] = {}
    for job in jobs:
        groups.setdefault(job.host, []).append(job.view["id"])
    by = f"{orch.owner}@{socket.gethostname()}"
    changed = [one for host, ids in groups.items() for one in orch.link(host).prioritise(ids, priority, by)]
    if not changed:
        raise RefusedError("none of these jobs waits any more", "Only what waits has a place in a queue.")
    return changed
