"""The shapes of what is sent and stored, as typed dictionaries. Pure, imported by both ends.

Times are seconds since the epoch (float), sizes are bytes unless the name says MiB, digests are lower-case hex SHA-256.
Readers ignore fields they do not know; writers fill every field that is not marked optional.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, TypedDict, Union


class SetupSpec(TypedDict):
    """`setup` of a job. `files` are the snapshot paths whose content the setup depends on."""

    run: str
    files: List[str]


class PythonSpec(TypedDict, total=False):
    """`python` of a job; `kind` is auto, conda, venv or path."""

    kind: str
    name: str
    path: str


class SecretSpec(TypedDict):
    """A secret's name; its value never stands in a spec."""

    name: str
    optional: bool
    at_rest: str


class NeedSpec(TypedDict):
    """Jobs that must have succeeded before: the name under `jobs`, and the ids of its cells."""

    job: str
    ids: List[str]


class RetrySpec(TypedDict):
    """The retry policy. on: keys of spool.states.RETRY_ON; backoff: seconds before the second try, then doubled."""

    max: int
    on: List[str]
    backoff: float


class _JobSpecOptional(TypedDict, total=False):
    hosts: List[str]


class JobSpec(_JobSpecOptional):
    """One frozen job (see docs/protocol.md). hosts: names on its controller of the hosts it may run on."""

    id: str
    name: str
    job: str
    project: str
    submission: str
    owner: str
    params: Dict[str, str]
    run: str
    setup: Optional[SetupSpec]
    python: PythonSpec
    snapshot: str
    dir: str
    env: Dict[str, str]
    secrets: List[SecretSpec]
    gpus: Union[int, float, str]
    gpu_memory_mib: int
    outputs: Union[str, List[str]]
    pull: str
    timeout: Optional[float]
    grace: float
    requires: List[str]
    submitted_at: float
    needs: List[NeedSpec]
    priority: int
    max_parallel: int
    max_failures: int
    no_output: Optional[float]
    retry: RetrySpec
    gpu_type: str


class _SubmissionOptional(TypedDict, total=False):
    moved_from: str


class Submission(_SubmissionOptional):
    """Everything one submit sends to one host; stored as submits/<id>.json, and that rename is the acknowledgement.

    moved_from is there when its jobs come from another host: that one's name on the controller.
    """

    id: str
    project: str
    owner: str
    created_at: float
    controller: str
    path_on_controller: str
    jobs: List[JobSpec]


class Entry(TypedDict, total=False):
    """One path of a manifest. t: "f" file (x, s, h), "l" symlink (to), "d" empty folder."""

    p: str
    t: str
    x: bool
    s: int
    h: str
    to: str


class Manifest(TypedDict):
    """A frozen code tree; its id is the SHA-256 of its canonical JSON (see spool.manifests.manifest_id)."""

    version: int
    entries: List[Entry]


class PackEntry(TypedDict):
    """Where one blob lies in a pack. z: compressed with zlib; s: size in the pack."""

    h: str
    o: int
    s: int
    z: bool


class GpuView(TypedDict):
    """One GPU as nvidia-smi tells it; None = unknown, never 0."""

    index: int
    uuid: str
    name: str
    memory_total_mib: Optional[int]
    memory_used_mib: Optional[int]
    utilization_pct: Optional[int]
    temperature_c: Optional[int]
    power_w: Optional[float]
    driver: Optional[str]
    leased_to: Optional[str]
    usable: bool
    note: str


class GpuTable(TypedDict):
    """state: ok, no_tool (no nvidia-smi), no_device, driver_broken or timeout; message is a sentence for people."""

    state: str
    message: str
    gpus: List[GpuView]
    cuda: Optional[str]


class AttemptView(TypedDict):
    """One try of a job."""

    number: int
    state: str
    reason: Optional[str]
    detail: str
    exit_code: Optional[int]
    signal: Optional[int]
    started_at: Optional[float]
    ended_at: Optional[float]
    gpus: List[int]
    log_size: int
    environment: Dict[str, Any]


class Hint(TypedDict):
    """Something worth telling while a job runs: a key of spool.states.HINTS, and the words it is filled with."""

    key: str
    words: Dict[str, str]


class JobView(TypedDict):
    """A job as the host sees it now."""

    id: str
    name: str
    job: str
    project: str
    submission: str
    owner: str
    params: Dict[str, str]
    state: str
    reason: Optional[str]
    detail: str
    waiting_for: Optional[str]
    attempt: int
    attempts: List[AttemptView]
    exit_code: Optional[int]
    signal: Optional[int]
    submitted_at: float
    started_at: Optional[float]
    ended_at: Optional[float]
    gpus: List[int]
    progress: Optional[Dict[str, Any]]
    path: str
    pull: str
    env_digest: Optional[str]
    hints: List[Hint]


class OutputFile(TypedDict):
    """One file to bring home. root: "workdir" or "outputs"; link is a symlink's target or None."""

    root: str
    path: str
    size: int
    mtime: float
    executable: bool
    sha256: str
    link: Optional[str]


class OutputList(TypedDict):
    """What `outputs` answers; left_out are [path, size, why]."""

    files: List[OutputFile]
    left_out: List[List[Any]]
    attempt: int
    log_size: int
