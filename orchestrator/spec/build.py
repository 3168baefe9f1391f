"""From one validated job of the file to its expanded jobs, one a cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from orchestrator.spec.interpolate import check, fill, quoted_twice
from orchestrator.spec.jobs import GRACE, CodeSpec, ExpandedJob, HostChoice, HostWord, Need, Retry, Secret, Setup
from orchestrator.spec.matrix import ASK_ABOVE, Cell, cells
from orchestrator.spec.models import JobModel, PythonModel, RetryModel
from orchestrator.spec.nodes import Document, Map, Node, Place, Seq
from orchestrator.spec.problems import Problem, Problems
from remote_payload.agent.wire.messages import PythonSpec

_SECRET_LOOK = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SECRET|SECRETS|CREDENTIALS?)(?:_|$)",
    re.IGNORECASE,
)
RESERVED = "ORCH_"


@dataclass(frozen=True)
class Overrides:
    """What the command line says over the file.

    Args:
        env: variables added or replaced in every job.
        gpus: GPUs of every job.
        hosts: the hosts every job may go to.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    gpus: int | float | None = None
    hosts: Sequence[str] | None = None


class RawJob(NamedTuple):
    """A job with the defaults under it: its name, where that stands, its nodes, and what they say."""

    name: str
    place: Place
    node: Map
    model: JobModel


def looks_secret(name: str) -> bool:
    """Tell whether a variable is called like something that should not stand in a file."""
    return _SECRET_LOOK.search(name) is not None


def expand_job(raw: RawJob, document: Document, problems: Problems, over: Overrides) -> list[ExpandedJob]:
    """Return the job's cells; what is wrong is noted in `problems`."""
    all_cells = _cells(raw, problems)
    if all_cells is None:
        return []
    known = sorted({key for cell in all_cells for key in cell})
    check(raw.node, known, problems)
    _check_names(raw, problems)
    base = _base(raw, document, over)
    if "matrix" not in raw.node.entries:
        return [base]
    return [_fill(base, f"{raw.name}.{index}", cell) for index, cell in enumerate(all_cells, start=1)]


def warnings(raw: RawJob, document: Document, jobs: Sequence[ExpandedJob]) -> list[str]:
    """Return what is allowed and probably not meant, one sentence each."""
    found = []
    env = raw.node.entries.get("env")
    secrets = {secret.name.rstrip("?") for secret in raw.model.secrets or ()}
    for name, entry in env.node.entries.items() if env and isinstance(env.node, Map) else ():
        at = document.at(entry.place)
        if name in secrets:
            found.append(f"{at}: the secret {name} hides the variable of that name under `env`")
        elif looks_secret(name):
            found.append(f"{at}: {name} looks like a secret, and `env` is kept in plain text; name it under `secrets`")
        elif name == "CUDA_VISIBLE_DEVICES":
            found.append(f"{at}: CUDA_VISIBLE_DEVICES overrides the GPUs that orch gives the job")
    found += quoted_twice(raw.node, [job.params for job in jobs], document)
    if len(jobs) > ASK_ABOVE:
        found.append(f"{document.at(raw.place)}: {raw.name} makes {len(jobs)} jobs")
    return found


def _cells(raw: RawJob, problems: Problems) -> list[Cell] | None:
    entry = raw.node.entries.get("matrix")
    if entry is None or not isinstance(entry.node, Map):
        return [{}]
    try:
        return cells(entry.node)
    except Problem as problem:
        problems.add(problem.place, problem.sentence, problem.hint)
        return None


def _check_names(raw: RawJob, problems: Problems) -> None:
    env = raw.node.entries.get("env")
    for name, entry in env.node.entries.items() if env and isinstance(env.node, Map) else ():
        if name.upper().startswith(RESERVED):
            problems.add(entry.place, f"{name!r} cannot be set under `env`: names that begin with ORCH_ are orch's own")
    seen: set[str] = set()
    for secret, node in zip(raw.model.secrets or (), _items(raw.node, "secrets"), strict=False):
        name = secret.name.rstrip("?")
        if name in seen:
            problems.add(node.place, f"the secret {name} is named twice")
        elif name.upper().startswith(RESERVED):
            problems.add(node.place, f"{name!r} cannot be a secret: names that begin with ORCH_ are orch's own")
        seen.add(name)


def _items(job: Map, key: str) -> Sequence[Node]:
    entry = job.entries.get(key)
    if entry is None:
        return ()
    return entry.node.items if isinstance(entry.node, Seq) else (entry.node,)


def _base(raw: RawJob, document: Document, over: Overrides) -> ExpandedJob:
    model = raw.model
    resources = model.resources
    gpus = resources.gpus if resources and resources.gpus is not None else "auto"
    return ExpandedJob(
        name=raw.name,
        job=raw.name,
        run=model.run,
        setup=_setup(raw, document),
        hosts=_hosts(raw, document, over.hosts),
        python=_python(model.python),
        code=_code(raw, document),
        env={**(model.env or {}), **over.env},
        secrets=_secrets(raw, document),
        gpus=gpus if over.gpus is None else over.gpus,
        gpu_memory_mib=(resources and resources.gpu_memory) or 0,
        gpu_type=(resources and resources.gpu_type) or "",
        outputs="auto" if model.outputs is None or model.outputs == "auto" else tuple(model.outputs),
        pull=model.pull or "auto",
        timeout=model.timeout,
        grace=GRACE if model.grace is None else model.grace,
        position=document.at(raw.place),
        needs=_needs(raw, document),
        priority=model.priority or 0,
        max_parallel=model.max_parallel or 0,
        max_failures=model.max_failures or 0,
        no_output=model.no_output,
        retry=_retry(model.retry),
    )


def _needs(raw: RawJob, document: Document) -> tuple[Need, ...]:
    places = [document.at(node.place) for node in _items(raw.node, "needs")]
    return tuple(Need(name, place) for name, place in zip(raw.model.needs or (), places, strict=False))


def _retry(model: RetryModel | None) -> Retry:
    usual = Retry()
    if model is None:
        return usual
    words = usual.on if model.on is None else tuple(dict.fromkeys(model.on))
    return Retry(model.max or 0, words, usual.backoff if model.backoff is None else model.backoff)


def _code(raw: RawJob, document: Document) -> CodeSpec:
    code = raw.model.code
    if code is None:
        return CodeSpec()
    ignore, include = tuple(code.ignore or ()), tuple(code.include or ())
    return CodeSpec(code.path or ".", code.dir or ".", ignore, include, document.at(raw.node.entries["code"].place))


def _setup(raw: RawJob, document: Document) -> Setup | None:
    model, code = raw.model.setup, raw.model.code
    if model is None:
        return None
    files = None if model.files is None else tuple(model.files)
    position = document.at(raw.node.entries["setup"].place)
    return Setup(model.run, files, (code and code.dir) or ".", position)


def _hosts(raw: RawJob, document: Document, over: Sequence[str] | None) -> HostChoice:
    if over is not None:
        return HostChoice(tuple(HostWord(word) for word in over))
    words = raw.model.hosts or []
    places = [document.at(node.place) for node in _items(raw.node, "hosts")]
    return HostChoice(tuple(HostWord(word, place) for word, place in zip(words, places, strict=False)))


def _python(model: PythonModel | None) -> PythonSpec:
    if model is None or not model.model_fields_set:
        return {"kind": "auto"}
    if model.conda is not None:
        return {"kind": "conda", "name": model.conda}
    if model.venv is not None:
        return {"kind": "venv", "path": model.venv}
    return {"kind": "path", "path": model.path or ""}


def _secrets(raw: RawJob, document: Document) -> tuple[Secret, ...]:
    places = [document.at(node.place) for node in _items(raw.node, "secrets")]
    return tuple(
        Secret(model.name.rstrip("?"), model.name.endswith("?"), model.at_rest or "memory", place)
        for model, place in zip(raw.model.secrets or (), places, strict=False)
    )


def _fill(base: ExpandedJob, name: str, cell: Cell) -> ExpandedJob:
    setup = base.setup and replace(base.setup, run=fill(base.setup.run, cell, shell=True))
    env = {key: fill(value, cell, shell=False) for key, value in base.env.items()}
    run = fill(base.run, cell, shell=True)
    return replace(base, name=name, params=dict(cell), run=run, setup=setup, env=env)
