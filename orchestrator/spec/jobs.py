"""What comes out of jobs.yaml: jobs with every default, matrix value and reference filled in. Plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from remote_payload.agent.wire.messages import PythonSpec

GRACE = 30.0
"""Seconds from TERM to KILL when nothing else is said."""


@dataclass(frozen=True)
class HostEntry:
    """A host of the inventory or of a jobs.yaml.

    Args:
        name: what the person calls it.
        ssh: the login line, or `local` for this very machine.
        profile: the provider's profile, `auto` = find out.
        tags: words that `hosts: tag:WORD` finds.
        root: folder for the spool on the host; None = the profile's.
        python: the Python orch's own agent uses there; None = find one.
        gpus: numbers of the GPUs that jobs may use; None = all.
        max_gpus: how many at once; None = all of them.
    """

    name: str
    ssh: str
    profile: str = "auto"
    tags: tuple[str, ...] = ()
    root: str | None = None
    python: str | None = None
    gpus: tuple[int, ...] | None = None
    max_gpus: int | None = None


@dataclass(frozen=True)
class HostWord:
    """One word under `hosts`: a name or tag:NAME, and its file:line:column ("" = the command line)."""

    text: str
    position: str = ""


@dataclass(frozen=True)
class HostChoice:
    """Where a job may run; no words = anywhere."""

    words: tuple[HostWord, ...] = ()


@dataclass(frozen=True)
class Setup:
    """The command that makes the environment ready.

    Args:
        run: its text.
        files: the snapshot paths it depends on, relative to `folder`; None = those that `run` names.
        folder: where it starts inside the snapshot.
        position: its file:line:column.
    """

    run: str
    files: tuple[str, ...] | None = None
    folder: str = "."
    position: str = ""


@dataclass(frozen=True)
class CodeSpec:
    """Which files are sent: `path` is relative to the file's folder, `dir` is inside it.

    Args:
        position: the file:line:column of `code` ("the code" when nothing is said of it); no part of what is equal.
    """

    path: str = "."
    dir: str = "."
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    position: str = field(default="the code", compare=False)


@dataclass(frozen=True)
class Secret:
    """A secret's name. position: its file:line:column."""

    name: str
    optional: bool = False
    at_rest: str = "memory"
    position: str = ""


@dataclass(frozen=True)
class Need:
    """A job that must have succeeded before. position: its file:line:column."""

    job: str
    position: str = ""


@dataclass(frozen=True)
class Retry:
    """The retry policy: how many more tries, after what (words of RETRY_ON), the first pause in seconds."""

    max: int = 0
    on: tuple[str, ...] = ("host", "oom", "cuda", "timeout")
    backoff: float = 30.0


@dataclass(frozen=True)
class ExpandedJob:
    """One cell of one job.

    Args:
        name: `train`, or `train.1` … `train.n` with a matrix.
        job: its name in the file.
        params: the cell's values as typed.
        gpus: a count, a part below 1, or "auto" = 1 where the host has one.
        gpu_memory_mib: what each GPU must have, MiB.
        gpu_type: words of the GPU's name; "" = any.
        outputs: "auto" or patterns.
        timeout: seconds of one attempt; None = no limit.
        grace: seconds from TERM to KILL.
        needs: jobs of the file, by name.
        priority: -100 to 100, higher first.
        max_parallel, max_failures: cells of one host; 0 = no limit.
        no_output: seconds of silence that end an attempt; None = no limit.
        position: the job's file:line:column.
    """

    name: str
    job: str
    run: str
    params: Mapping[str, str] = field(default_factory=dict)
    setup: Setup | None = None
    hosts: HostChoice = field(default_factory=HostChoice)
    python: PythonSpec = field(default_factory=lambda: PythonSpec(kind="auto"))
    code: CodeSpec = field(default_factory=CodeSpec)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    gpus: int | float | Literal["auto"] = "auto"
    gpu_memory_mib: int = 0
    gpu_type: str = ""
    outputs: tuple[str, ...] | Literal["auto"] = "auto"
    pull: str = "auto"
    timeout: float | None = None
    grace: float = GRACE
    needs: tuple[Need, ...] = ()
    priority: int = 0
    max_parallel: int = 0
    max_failures: int = 0
    no_output: float | None = None
    retry: Retry = field(default_factory=Retry)
    position: str = ""


@dataclass(frozen=True)
class JobsFile:
    """A jobs.yaml, expanded.

    Args:
        path: as the person named it; need not exist for `orch run`.
        folder: absolute; paths in the file are relative to it.
        project: the scope of job names.
        hosts: those the file adds or sets otherwise, by name.
        jobs: in the file's order.
        warnings: sentences for people.
    """

    path: Path
    folder: Path
    project: str
    hosts: dict[str, HostEntry]
    jobs: list[ExpandedJob]
    warnings: list[str] = field(default_factory=list)
