"""What the agent's methods answer, beyond the shapes in wire.messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypedDict

from remote_payload.agent.wire.messages import AttemptView, GpuTable, JobView


class Hello(TypedDict):
    """Who and what answers; nothing was run on the host to find out."""

    protocol: int
    agent: str
    python: dict[str, str]
    hostname: str
    user: str
    home: str
    shell: str
    pid: int
    os: str
    machine_id: str
    boot: dict[str, Any]
    paths: dict[str, bool]
    capabilities: list[str]
    time: float


class KeeperView(TypedDict):
    """The host's resident process."""

    alive: bool
    pid: int | None


class OtherSpool(TypedDict):
    """The queue of another host in this host's home: of one that shares the home, or that it was copied from."""

    host_id: str
    root: str
    jobs_live: int


class Opened(TypedDict):
    """The spool this link is bound to; `moved`: it belongs to another host (`owner`) and rests until it is adopted.

    secrets_needed: {job: names} of waiting jobs whose secrets the host does not have (any more).
    """

    host_id: str
    root: str
    keeper: KeeperView
    jobs_live: int
    secrets_needed: dict[str, list[str]]
    owner: str
    moved: bool
    others: list[OtherSpool]


class Adopted(TypedDict):
    """The spool that is this host's own now."""

    host_id: str
    root: str
    keeper: KeeperView


class Autostart(TypedDict):
    """What starts a host's queue at boot: boot_hook, crontab, systemd or none; and a sentence for people."""

    kind: str
    sentence: str


class Paused(TypedDict):
    """Since when (seconds since the epoch) a host starts nothing new, and who wanted it."""

    at: float
    by: str


class Have(TypedDict):
    """What a host holds of what it was asked about."""

    snapshots: list[str]
    missing: list[str]


class Enqueued(TypedDict, total=False):
    """acknowledged: stored durably; else `missing` are the blobs to send first."""

    acknowledged: bool
    keeper: KeeperView
    missing: list[str]


class Disk(TypedDict):
    """Bytes where the spool lies."""

    free: int
    total: int


class Status(TypedDict):
    """A whole host in one answer; load is the one-minute average or None, owner the host that its spool belongs to.

    broken: {file: why} of submissions that cannot be used.
    """

    gpus: GpuTable
    jobs: list[JobView]
    keeper: KeeperView
    time: float
    disk: Disk
    load: float | None
    paused: Paused | None
    owner: str
    host_id: str
    broken: dict[str, str]


class ResolvedPython(TypedDict):
    """The Python a job would get."""

    prefix: str
    python: str
    version: str
    kind: str
    conda_envs: list[str]


class Removed(TypedDict):
    """One thing gc took away."""

    what: str
    path: str
    bytes: int


class GcReport(TypedDict):
    """What gc removed (or would)."""

    removed: list[Removed]
    freed: int


class Environment(TypedDict):
    """What one setup makes: named by a digest, for the jobs of these names."""

    digest: str
    jobs: list[str]


class Preparing(TypedDict):
    """What a host lacks before it can prepare; without that, the setups that were begun."""

    missing: list[str]
    environments: list[Environment]


class LogPiece(NamedTuple):
    """Part of a log, or (with `end`) the news that an attempt ended.

    Attributes:
        attempt: its number.
        offset: where `data` begins in that attempt's log, in bytes.
        data: raw bytes of the job; not safe to show as they are.
        end: the attempt's final view; `data` is empty then.
    """

    attempt: int
    offset: int
    data: bytes
    end: AttemptView | None = None


class LogPart(NamedTuple):
    """A stored part of a log: `data` begins at `offset` of `size` bytes."""

    attempt: int
    offset: int
    size: int
    data: bytes


class FilePiece(NamedTuple):
    """Part of a file: `n` counts the files asked for, `offset` is in bytes."""

    n: int
    offset: int
    data: bytes


class PackSource(Protocol):
    """What `put_pack` sends: `index_size` bytes of index, then `size` bytes of blobs; sha256 is of all of them."""

    @property
    def index_size(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def chunks(self) -> Iterator[bytes]: ...


class Withdrawn(TypedDict):
    """What became of a wish to move jobs: those that wait here no more, and why others stay, by id."""

    withdrawn: list[str]
    refused: dict[str, str]
