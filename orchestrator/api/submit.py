"""Submit: place the frozen jobs, send what the hosts lack, and know that they have it."""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.api.core import Orch
from orchestrator.api.freeze import Frozen, fingerprint
from orchestrator.errors import AgentError, HostError, RefusedError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.ship.pack import plan_packs
from orchestrator.ship.scan import Tree
from orchestrator.store import ACKED, DROPPED, PLANNED, SENT
from remote_payload.agent.spool.manifests import canonical
from remote_payload.agent.wire.messages import Manifest, PythonSpec, Submission

SentBytes = Callable[[str, int, int], None]
"""Called with (host, bytes sent, bytes in all) while code goes over."""

MAX_ROUNDS = 3
"""Times the host may still name missing blobs (a gc beside us) before it counts as broken."""


class Request(NamedTuple):
    """An enqueue request: the submission's id, the digest of its part, the packed body."""

    id: str
    digest: str
    body: bytes


class Brake:
    """What Ctrl-C pulls while code goes over: nothing is queued after it, and an answer on its way is waited for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopped = False
        self._open = 0

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """Be inside while a request is out that may queue something.

        Raises:
            RefusedError: the brake was pulled.
        """
        with self._changed:
            if self._stopped:
                raise RefusedError("stopped before it was queued")
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def pull(self) -> bool:
        """Let nothing more be queued; return whether an answer is on its way."""
        with self._changed:
            self._stopped = True
            return self._open > 0

    def wait(self, seconds: float) -> None:
        """Wait so long at most for the answers that are on their way."""
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0, seconds)


@dataclass
class Submitted:
    """What a submit left on the hosts.

    Args:
        frozen: the submission.
        placed: {job id: host name}.
        sent_files: blobs that were missing and went over.
        sent_bytes: their bytes on the wire.
        failed: hosts that did not acknowledge, with why.
    """

    frozen: Frozen
    placed: dict[str, str]
    sent_files: int = 0
    sent_bytes: int = 0
    failed: dict[str, HostError] = field(default_factory=dict)


def twins(orch: Orch, frozen: Frozen) -> list[str]:
    """Return the ids of live jobs known here that do exactly what a new one would do."""
    mine = {fingerprint(job.spec) for job in frozen.jobs}
    maybe = orch.store.live_twins(frozen.file.project, mine)
    if not maybe:
        return []
    # The laptop's memory may be old: only what the hosts still call live counts (or cannot be asked about).
    live = {job.view["id"] for job in orch.jobs()[0] if job.live}
    return [job for job in maybe if job in live]


def send(
    orch: Orch,
    frozen: Frozen,
    placed: Mapping[str, str],
    progress: SentBytes | None = None,
    brake: Brake | None = None,
) -> Submitted:
    """Write the submission down, send it to every host at once, and return when all have answered.

    Args:
        placed: {job id: host}.
        progress: told how far the code is.
        brake: lets the caller wait, after Ctrl-C, for what is under way.

    Raises:
        HostError: not one host acknowledged. Others that did not are listed in `failed`.
        KeyboardInterrupt: Ctrl-C; nothing more is queued, and the store knows what was (see resume.settle).
    """
    result = Submitted(frozen, dict(placed))
    per_host: dict[str, list[str]] = {}
    for job in frozen.jobs:
        per_host.setdefault(placed[job.spec["id"]], []).append(job.spec["id"])
    _refuse_missing_pythons(orch, frozen, per_host)
    orch.store.save_submission(
        frozen.id,
        project=frozen.file.project,
        folder=str(frozen.file.folder),
        created_at=frozen.created_at,
        jobs=[(job.spec["id"], job.spec["name"], placed[job.spec["id"]], fingerprint(job.spec)) for job in frozen.jobs],
        frozen={host: frozen.for_host(ids, orch.owner) for host, ids in per_host.items()},
    )
    pulled = brake or Brake()
    try:
        answers = orch.links.each(
            [orch.host(name) for name in per_host],
            lambda link: _send_to(orch, link, frozen, per_host[link.name], progress, pulled),
            deadline=float("inf"),
        )
    except KeyboardInterrupt:
        pulled.pull()
        raise
    for host, answer in answers.items():
        if answer.value is not None:
            result.sent_files += answer.value[0]
            result.sent_bytes += answer.value[1]
            orch.remember(host, [orch.first_view(job.spec) for job in frozen.jobs if placed[job.spec["id"]] == host])
        else:
            result.failed[host] = _as_host_error(host, answer.error)
            if isinstance(answer.error, RefusedError):
                # Sending it again would be refused again: it is not left behind as interrupted.
                orch.store.mark(frozen.id, host, DROPPED)
    if len(result.failed) == len(per_host):
        raise next(answer.error for answer in answers.values() if answer.error)
    return result


def _refuse_missing_pythons(orch: Orch, frozen: Frozen, per_host: Mapping[str, Sequence[str]]) -> None:
    """Refuse an environment that a host does not have, before anything is written down or sent.

    Raises:
        RefusedError: with the environments there are.
    """
    wanted: dict[str, list[PythonSpec]] = {}
    for host, ids in per_host.items():
        pythons = [job.expanded.python for job in frozen.jobs if job.spec["id"] in set(ids)]
        named = [python for python in pythons if python.get("kind", "auto") != "auto"]
        if named:
            wanted[host] = named
    answers = orch.links.each([orch.host(name) for name in wanted], lambda link: check_pythons(link, wanted[link.name]))
    for answer in answers.values():
        if isinstance(answer.error, RefusedError):
            raise answer.error


def _as_host_error(host: str, error: Exception | None) -> HostError:
    return error if isinstance(error, HostError) else HostError(str(error), host=host)


def _send_to(
    orch: Orch, link: AgentLink, frozen: Frozen, ids: Sequence[str], progress: SentBytes | None, brake: Brake
) -> tuple[int, int]:
    jobs = [job for job in frozen.jobs if job.spec["id"] in set(ids)]
    trees = {job.tree.snapshot_id: job.tree for job in jobs}
    submission = frozen.for_host(ids, orch.owner)
    manifests: dict[str, Manifest] = {snapshot: tree.manifest for snapshot, tree in trees.items()}
    secrets = {job_id: values for job_id, values in frozen.secrets.items() if job_id in set(ids)}
    return hand_over(orch, link, pack_request(submission, manifests, secrets), trees, progress, brake)


def pack_request(
    submission: Submission, manifests: Mapping[str, Manifest], secrets: Mapping[str, Mapping[str, str]]
) -> Request:
    """Return the enqueue request for one host."""
    parts = {"submission": submission, "manifests": manifests, "secrets": secrets}
    digest = hashlib.sha256(canonical(submission)).hexdigest()
    return Request(submission["id"], digest, zlib.compress(json.dumps(parts).encode(), 1))


def hand_over(
    orch: Orch,
    link: AgentLink,
    request: Request,
    trees: Mapping[str, Tree],
    progress: SentBytes | None,
    brake: Brake | None = None,
) -> tuple[int, int]:
    """Enqueue on one host, sending what it lacks; returns (files, bytes) sent. May be repeated.

    Args:
        request: from pack_request.
        trees: the code by snapshot id.
        brake: what Ctrl-C pulls.

    Raises:
        HostError: the host did not acknowledge.
    """
    brake = brake or Brake()
    files = size = 0
    for _ in range(MAX_ROUNDS):
        with brake.queueing():
            # "sent" is doubt: it may be queued. It stands in the store only while an answer is missing.
            orch.store.mark(request.id, link.name, SENT)
            reply = link.enqueue(request.digest, request.body)
            orch.store.mark(request.id, link.name, ACKED if reply["acknowledged"] else PLANNED)
        if reply["acknowledged"]:
            return files, size
        missing = set(reply["missing"])
        files += len(missing)
        size += upload(link, request.id, trees.values(), missing, progress)
    raise AgentError(f"{link.name} keeps losing files that were sent", "Try again; then `orch check`.", host=link.name)


def upload(
    link: AgentLink, submission: str, trees: Iterable[Tree], missing: set[str], progress: SentBytes | None
) -> int:
    """Send files that a host lacks; return the bytes on the wire."""
    sent = 0
    left = set(missing)
    for tree in trees:
        wanted = left & set(tree.blobs)
        left -= wanted
        total = sum(tree.blobs[sha].size for sha in wanted)
        for pack in plan_packs(tree, wanted):
            before = sent

            def told(done: int, before: int = before, total: int = total) -> None:
                if progress:
                    progress(link.name, before + done, total)

            with pack:
                link.put_pack(submission, pack, told)
            sent += pack.index_size + pack.size
    return sent


def check_pythons(link: AgentLink, wanted: Sequence[PythonSpec]) -> None:
    """Refuse an environment that is not there before anything is queued for it."""
    seen: set[bytes] = set()
    for python in wanted:
        key = canonical(dict(python))
        if python.get("kind", "auto") == "auto" or key in seen:
            continue
        seen.add(key)
        try:
            link.resolve_python(dict(python))
        except AgentError as error:
            if error.code == "not_found":
                raise RefusedError(error.message, error.hint) from error
            raise
