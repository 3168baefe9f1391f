"""jobs.yaml -> expanded jobs. Every error is one sentence that begins with file:line:column."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import ConfigError, UsageError
from orchestrator.spec.build import Overrides, RawJob, expand_job, looks_secret, warnings
from orchestrator.spec.fields import ENV_NAME, JOB_NAME
from orchestrator.spec.jobs import (
    CodeSpec,
    ExpandedJob,
    HostChoice,
    HostEntry,
    HostWord,
    JobsFile,
    Secret,
    Setup,
)
from orchestrator.spec.loader import read_document
from orchestrator.spec.models import FileModel, HostModel, JobModel
from orchestrator.spec.needs import check_needs, require_needs
from orchestrator.spec.nodes import Document, Entry, Leaf, Map, Place, is_null, merge
from orchestrator.spec.problems import Problems
from orchestrator.spec.secrets import refuse_values
from orchestrator.spec.words import listed, near
from remote_payload.agent.wire.messages import JobSpec, SetupSpec

__all__ = [
    "CodeSpec", "ExpandedJob", "HostChoice", "HostEntry", "HostWord", "JobsFile", "Secret", "Setup", "load_jobs_file",
    "peek", "project_name", "setup_files", "single_job", "to_spec",
]  # fmt: skip

_WHOLE = ("python",)
"""Keys of a job that are one choice: those of the defaults are not joined with the job's."""
_GLUED = ("-r", "-c", "-f", "@")
"""What may stand before a file's name without a blank, as in -rrequirements.txt."""
_TOKEN_END = re.compile(r"[\s;|&()<>\"'`=,]+")


def load_jobs_file(
    path: Path,
    *,
    job_filter: Sequence[str] = (),
    matrix_filter: Mapping[str, str] | None = None,
    env_overrides: Mapping[str, str] | None = None,
    gpus: int | float | None = None,
    hosts: Sequence[str] | None = None,
) -> JobsFile:
    """Read and expand a jobs.yaml.

    Args:
        path: the file.
        job_filter: only these jobs (`train`) or cells (`train.3`).
        matrix_filter: only cells with these values.
        env_overrides: variables set in every job, over the file's.
        gpus: GPUs of every job, instead of the file's.
        hosts: where every job may go, instead of the file's.

    Raises:
        ConfigError: the file is wrong.
        UsageError: there is no such file, or a filter or override names nothing.
    """
    over = _overrides(env_overrides, gpus, hosts)
    document, model, problems = _open(path)
    jobs: list[ExpandedJob] = []
    said: list[str] = []
    raws = _raw_jobs(document, problems)
    for raw in raws:
        made = expand_job(raw, document, problems, over)
        jobs += made
        said += warnings(raw, document, made)
    check_needs(raws, problems)
    problems.raise_first()
    assert model is not None
    refuse_values(document, [secret.name for job in jobs for secret in job.secrets])
    said += _override_warnings(over)
    jobs = _only_cells(_only_jobs(jobs, job_filter), matrix_filter or {})
    require_needs(jobs)
    folder = path.parent.resolve()
    return JobsFile(path, folder, model.project or project_name(folder), _hosts(model), jobs, list(dict.fromkeys(said)))


def single_job(
    command: Sequence[str],
    *,
    file: Path = Path("jobs.yaml"),
    name: str = "run",
    env_overrides: Mapping[str, str] | None = None,
    gpus: int | float | None = None,
    hosts: Sequence[str] | None = None,
) -> JobsFile:
    """Return one job that runs a command, with the defaults of a jobs.yaml where there is one.

    Args:
        command: the words of the command; they reach the program as they are.
        file: the jobs.yaml; it need not exist.
        name: what the job is called.
        env_overrides, gpus, hosts: as for `load_jobs_file`.

    Raises:
        ConfigError: the file's defaults are wrong.
        UsageError: the name or the command cannot be used.
    """
    over = _overrides(env_overrides, gpus, hosts)
    if not re.fullmatch(JOB_NAME, name, re.ASCII):
        raise UsageError(f"a job cannot be called {name[:60]!r}", "Use letters, digits, _ and -.")
    if not command or any("\0" in word for word in command):
        raise UsageError("there is no command to run", "Write it after --, as in: orch run -- python train.py")
    here = Place(1, 1)
    run = Map({"run": Entry(here, Leaf(shlex.join(command), "", here)), "matrix": _nothing(here)}, here)
    if not file.exists():
        document = Document(file, "", run)
        model: FileModel | None = None
        problems = Problems(document)
    else:
        document, model, problems = _open(file)
    raw = _raw_job(name, Entry(here, run), document, problems)
    problems.raise_first()
    assert raw is not None
    jobs = expand_job(raw, document, problems, over)
    problems.raise_first()
    refuse_values(document, [secret.name for secret in jobs[0].secrets])
    folder = file.parent.resolve()
    project = (model and model.project) or project_name(folder)
    return JobsFile(
        file, folder, project, _hosts(model), jobs, warnings(raw, document, jobs) + _override_warnings(over)
    )


def peek(path: Path | None) -> tuple[str, list[HostEntry]]:
    """Return (project, hosts) of a folder without looking at its jobs.

    Args:
        path: the jobs.yaml; None or a file that is not there = only the folder's name counts.

    Raises:
        ConfigError: the file is wrong.
    """
    folder = (path or Path("jobs.yaml")).parent.resolve()
    if path is None or not path.exists():
        return project_name(folder), []
    document = read_document(path)
    problems = Problems(document)
    top = {key: entry for key, entry in document.root.entries.items() if key in ("project", "hosts")}
    top["jobs"] = Entry(Place(1, 1), Map({}, Place(1, 1)))
    model = problems.check(FileModel, Map(top, document.root.place), "the file", document.root.place)
    problems.raise_first()
    assert model is not None
    return model.project or project_name(folder), list(_hosts(model).values())


def project_name(folder: Path) -> str:
    """Return a folder's name as a word (letters of every script, digits, `_`, `-` and `.`)."""
    word = re.sub(r"[^\w.-]+", "-", folder.name).lstrip("-.").rstrip("-.")
    return word[:100] or "project"


def setup_files(setup: Setup | None, paths: Iterable[str]) -> list[str]:
    """Return the snapshot paths whose content a setup depends on.

    Args:
        setup: of a job; its own list of files, or else those that stand as a word in its text.
        paths: of the snapshot.

    Raises:
        ConfigError: a file that the list names is not in the snapshot.
    """
    if setup is None:
        return []
    known = set(paths)
    if setup.files is None:
        tokens = _TOKEN_END.split(setup.run)
        words = {token.removeprefix(prefix) for token in tokens for prefix in ("", *_GLUED)}
        return sorted({path for word in words if (path := _in_snapshot(setup.folder, word)) in known})
    found = []
    for name in setup.files:
        path = _in_snapshot(setup.folder, name)
        if path not in known:
            hint = "Is it left out by an ignore rule? `orch submit --dry-run` lists what is sent."
            raise ConfigError(f"{setup.position}: `setup.files` names {name!r}, and the code has no such file", hint)
        found.append(path)
    return found


def to_spec(
    job: ExpandedJob,
    *,
    id: str,
    submission: str,
    owner: str,
    project: str,
    snapshot: str,
    submitted_at: float,
    setup_files: Sequence[str],
    ids: Mapping[str, Sequence[str]],
) -> JobSpec:
    """Return the frozen job that is sent.

    Args:
        job: the expanded job.
        id, submission: ids made by the caller.
        owner: who submits.
        project: the scope of the job's name.
        snapshot: the id of its code.
        submitted_at: seconds since the epoch.
        setup_files: what its setup depends on.
        ids: {job: ids of its cells} of the submission, for `needs`.
    """
    setup: SetupSpec | None = None if job.setup is None else {"run": job.setup.run, "files": list(setup_files)}
    return {
        "id": id, "name": job.name, "job": job.job, "project": project, "submission": submission, "owner": owner,
        "params": dict(job.params), "run": job.run, "setup": setup, "python": job.python, "snapshot": snapshot,
        "dir": job.code.dir, "env": dict(job.env),
        "secrets": [{"name": s.name, "optional": s.optional, "at_rest": s.at_rest} for s in job.secrets],
        "gpus": job.gpus, "gpu_memory_mib": job.gpu_memory_mib,
        "outputs": "auto" if isinstance(job.outputs, str) else list(job.outputs),
        "pull": job.pull, "timeout": job.timeout, "grace": job.grace, "requires": _requires(job),
        "submitted_at": submitted_at, "needs": [{"job": need.job, "ids": list(ids[need.job])} for need in job.needs],
        "priority": job.priority, "max_parallel": job.max_parallel, "max_failures": job.max_failures,
        "no_output": job.no_output, "gpu_type": job.gpu_type,
        "retry": {"max": job.retry.max, "on": list(job.retry.on), "backoff": job.retry.backoff},
    }  # fmt: skip


def _requires(job: ExpandedJob) -> list[str]:
    """What the host's keeper must know, or else the job waits for a newer one instead of running without it."""
    used = {
        "needs": job.needs, "priority": job.priority, "max_parallel": job.max_parallel,
        "max_failures": job.max_failures, "retry": job.retry.max, "no_output": job.no_output, "gpu_type": job.gpu_type,
        "gpu_share": isinstance(job.gpus, float),
    }  # fmt: skip
    return [word for word, value in used.items() if value]


def _in_snapshot(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name)) if name else ""


def _nothing(place: Place) -> Entry:
    return Entry(place, Leaf(None, "", place))


def _overrides(env: Mapping[str, str] | None, gpus: int | float | None, hosts: Sequence[str] | None) -> Overrides:
    for name, value in (env or {}).items():
        if not re.fullmatch(ENV_NAME, name, re.ASCII) or name.upper().startswith("ORCH_"):
            raise UsageError(f"{name[:60]!r} cannot be the name of a variable", "Use letters, digits and _.")
        if "\0" in value:
            raise UsageError(f"the value of {name} holds a NUL")
    return Overrides(dict(env or {}), gpus, hosts)


def _override_warnings(over: Overrides) -> list[str]:
    return [
        f"{name} looks like a secret, and --env is kept in plain text; name it under `secrets`"
        for name in over.env
        if looks_secret(name)
    ]


def _open(path: Path) -> tuple[Document, FileModel | None, Problems]:
    if not path.exists():
        hint = "`orch init` writes one; `orch run -- CMD` does without."
        raise UsageError(f"there is no {path} here" if not path.is_absolute() else f"there is no {path}", hint)
    document = read_document(path)
    problems = Problems(document)
    model = problems.check(FileModel, document.root, "the file", document.root.place)
    hosts = document.root.entries.get("hosts")
    for name, entry in hosts.node.entries.items() if hosts and isinstance(hosts.node, Map) else ():
        if is_null(entry.node):
            problems.check(HostModel, Map({}, entry.place), f"host {name!r}", entry.place)
    return document, model, problems


def _raw_jobs(document: Document, problems: Problems) -> list[RawJob]:
    jobs = document.root.entries.get("jobs")
    if jobs is None or not isinstance(jobs.node, Map):
        return []
    if not jobs.node.entries:
        problems.add(jobs.place, "`jobs` is empty", "Write one: jobs: {train: {run: python train.py}}")
    found = [_raw_job(name, entry, document, problems) for name, entry in jobs.node.entries.items()]
    return [raw for raw in found if raw is not None]


def _raw_job(name: str, entry: Entry, document: Document, problems: Problems) -> RawJob | None:
    node = Map({}, entry.place) if is_null(entry.node) else entry.node
    if not isinstance(node, Map):
        problems.add(node.place, f"job {name!r} must be a map, as in {{run: python train.py}}")
        return None
    defaults = document.root.entries.get("defaults")
    base = defaults.node if defaults and isinstance(defaults.node, Map) else Map({}, node.place)
    merged = merge(base, node, _WHOLE)
    model = problems.check(JobModel, merged, f"job {name!r}", entry.place)
    return None if model is None else RawJob(name, entry.place, merged, model)


def _hosts(model: FileModel | None) -> dict[str, HostEntry]:
    hosts = (model.hosts if model else None) or {}
    return {name: host_entry(name, host) for name, host in hosts.items()}


def host_entry(name: str, host: HostModel) -> HostEntry:
    """Return a validated host under its name."""
    return HostEntry(
        name,
        host.ssh,
        host.profile or "auto",
        tuple(host.tags or ()),
        host.root,
        host.python,
        None if host.gpus is None else tuple(host.gpus),
        host.max_gpus,
    )


def _only_jobs(jobs: list[ExpandedJob], words: Sequence[str]) -> list[ExpandedJob]:
    names = dict.fromkeys(name for job in jobs for name in (job.job, job.name))
    for word in words:
        if word not in names:
            raise UsageError(f"no job is called {word[:60]!r}{near(word, names)}", f"There are: {listed(names)}.")
    return [job for job in jobs if not words or job.job in words or job.name in words]


def _only_cells(jobs: list[ExpandedJob], values: Mapping[str, str]) -> list[ExpandedJob]:
    for key, value in values.items():
        known = dict.fromkeys(job.params[key] for job in jobs if key in job.params)
        if not known:
            keys = sorted({key for job in jobs for key in job.params})
            if not keys:
                raise UsageError(f"no matrix has the key {key[:60]!r}: none of these jobs has a matrix")
            raise UsageError(f"no matrix has the key {key[:60]!r}{near(key, keys)}", f"There are: {listed(keys)}.")
        if value not in known:
            raise UsageError(f"no cell has {key}={value[:60]}{near(value, known)}", f"There are: {listed(known)}.")
    return [job for job in jobs if all(job.params.get(key) == value for key, value in values.items())]
