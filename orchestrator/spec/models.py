"""What may stand in jobs.yaml: strict models. Their descriptions are the reference page and the editors' help."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from orchestrator.spec.fields import (
    AtRest,
    Count,
    EnvName,
    GpuNumbers,
    Gpus,
    GpuType,
    Grace,
    HostName,
    HostPath,
    HostWords,
    Inside,
    JobName,
    Limit,
    Line,
    MaxGpus,
    Memory,
    Needs,
    Outputs,
    Priority,
    ProfileName,
    Project,
    Pull,
    RetryWord,
    Root,
    Script,
    SecretName,
    SshText,
    Tag,
    Tries,
    Typed,
    Version,
    typed,
)
from orchestrator.spec.words import near

DEFAULT = "x-default"
"""Marks in the schema what a key is when left out, in words."""
EXAMPLE = "x-example"
"""Marks in the schema how a key is written: YAML as it stands in the file, or in a job."""

FORMS = {
    "python": "auto, {conda: NAME}, {venv: PATH} or {path: /abs/python}",
    "setup": "a command as text, or {run, files}",
    "range": "[from, to] or [from, to, step]",
}


def about(text: str, default: str | None = None, example: str = "") -> Any:
    """Return the field of an optional key: what it is for, what it is when left out, how it is written."""
    marks = {DEFAULT: default, EXAMPLE: example}
    return Field(None, description=text, json_schema_extra={key: mark for key, mark in marks.items() if mark})


class Model(BaseModel):
    """Unknown keys are errors, and no value is turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SetupModel(Model):
    """What makes the environment ready."""

    run: Script = Field(description="The command; `bash -eo pipefail` (`sh` where there is no bash).")
    files: list[Line] | None = about(
        "Files of the code that it depends on: when one changes, setup runs again.", "the files that `run` names"
    )


class PythonModel(Model):
    """One of the three."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    conda: Line | None = about("A conda environment's name, or its folder.")
    venv: HostPath | None = about("A virtual environment's folder on the host.")
    path: HostPath | None = about("An interpreter on the host.")

    @model_validator(mode="after")
    def _one(self) -> PythonModel:
        if len(self.model_fields_set) > 1:
            raise ValueError(f"must be one of {FORMS['python']}, not several")
        return self


class CodeModel(Model):
    """Which files are sent."""

    path: Line | None = about("The folder that is sent, relative to this file.", ".")
    dir: Inside | None = about("Where `setup` and `run` start inside it.", ".")
    ignore: list[Line] | None = about("Lines as in a .gitignore file: what stays at home.", "[]")
    include: list[Line] | None = about("The same: what is sent although a rule leaves it out.", "[]")


class SecretModel(Model):
    """A secret with its own place on the host."""

    name: SecretName = Field(description="The variable's name; `NAME?` when the job can do without it.")
    at_rest: AtRest | None = about("Where the host keeps it until the job ends: `memory` or `disk`.", "memory")


class ResourcesModel(Model):
    """What one job needs for itself."""

    gpus: Gpus | None = about(
        "How many GPUs; `auto` is 1 where the host has one, else 0. A part, as in `0.5`: two such jobs share one GPU.",
        "auto",
    )
    gpu_memory: Memory | None = about("Memory that each GPU must have, as in `20GB`; 5 % less is accepted.", "0")
    gpu_type: GpuType | None = about("Words of the GPU's name, as in `4090` or `A100 80GB`; `any` is every GPU.", "any")


class RetryModel(Model):
    """When an attempt that failed is tried again by itself."""

    max: Tries | None = about("How many more tries there may be.", "0")
    on: list[RetryWord] | None = about(
        "After what: `host` (the host was rebooted or the job's supervisor died), `oom` (out of memory), `cuda` "
        "(a CUDA error), `timeout` (`timeout` or `no_output`), `exit` (any other failure).",
        "[host, oom, cuda, timeout]",
    )
    backoff: Grace | None = about("The pause before the second try; it doubles with each, up to 30m.", "30s")


def _setup(value: Any) -> Any:
    if value == "none":
        return None
    if isinstance(value, str):
        return {"run": value}
    if not isinstance(value, dict):
        raise ValueError(f"must be {FORMS['setup']}")
    return value


def _python(value: Any) -> Any:
    if value == "auto":
        return {}
    if isinstance(value, dict) and value:
        return value
    meant = ""
    if isinstance(value, str):
        meant = near(value, ["auto"]) or f"; did you mean {{conda: {value[:60]}}}?"
    raise ValueError(f"must be {FORMS['python']}{meant}")


def _secret(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return {"name": typed(value)}


def _matrix(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be a map, as in {lr: [1e-3, 1e-4]}")
    return value


_CELL = {"type": ["string", "number", "boolean"]}
_CELLS = {"type": "array", "items": {"type": "object", "additionalProperties": _CELL}}
_RANGE = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}
MATRIX_SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "properties": {"include": _CELLS, "exclude": _CELLS},
    "additionalProperties": {
        "anyOf": [
            {"type": "array", "items": _CELL, "minItems": 1},
            {"type": "object", "properties": {"range": _RANGE}, "required": ["range"], "additionalProperties": False},
        ]
    },
}

Setup = Annotated[SetupModel | None, BeforeValidator(_setup, json_schema_input_type=str | SetupModel)]
Python = Annotated[PythonModel, BeforeValidator(_python, json_schema_input_type=Literal["auto"] | PythonModel)]
Secret = Annotated[SecretModel, BeforeValidator(_secret, json_schema_input_type=SecretName | SecretModel)]
Matrix = Annotated[dict[str, Any], BeforeValidator(_matrix), WithJsonSchema(MATRIX_SCHEMA)]


_FILE_JOBS = "jobs:\n  train: {run: python train.py}"


class JobKeys(Model):
    """The keys of a job; under `defaults` all may be left out."""

    run: Script | None = about(
        "The command of the job, run by `bash -eo pipefail` (`sh` where there is no bash): the first line that fails "
        "ends the job.",
        example="run: |\n  python prepare.py\n  python train.py --epochs 10",
    )
    setup: Setup | None = about(
        "A command that makes the environment ready, or `{run, files}`. It runs once per host and content, "
        "before a GPU is held, and nobody can answer its questions.",
        "none",
        "setup: pip install -r requirements.txt",
    )
    hosts: HostWords | None = about(
        "Where it may run: `any`, a host, a list of hosts, or `tag:NAME`.", "any", 'hosts: [box1, "tag:4090"]'
    )
    python: Python | None = about(
        "The Python that `python` is: `auto` (the host's own, conda's base where there is one), `{conda: NAME}`, "
        "`{venv: PATH}` or `{path: /abs/python}`. A path is absolute on the host, or begins with `~/`.",
        "auto",
        "python: {conda: torch-2.5}",
    )
    code: CodeModel | None = about(
        "Which files are sent; `.gitignore` and `.orchignore` are honoured.",
        "the folder of this file",
        'code: {path: ., dir: src, ignore: ["*.ckpt"], include: [best.ckpt]}',
    )
    env: dict[EnvName, Typed] | None = about(
        "Variables of the job, as text as typed. Not for secrets: the file is shared and kept.",
        "{}",
        'env: {OMP_NUM_THREADS: 8, TOKENIZERS_PARALLELISM: "false"}',
    )
    secrets: list[Secret] | None = about(
        "Names of variables whose values come from this computer's environment, its keyring, or netrc "
        "(WANDB_API_KEY); `NAME?` is optional. Values never stand in a file.",
        "[]",
        'secrets: ["WANDB_API_KEY?", {name: HF_TOKEN, at_rest: disk}]',
    )
    matrix: Matrix | None = about(
        "One job for each combination: `key: [a, b]` or `key: {range: [from, to, step]}` (`to` is included); "
        "`include` and `exclude` as on GitHub Actions.",
        "one job",
        "run: python train.py ${{ matrix.args }}\nmatrix: {lr: [1e-3, 1e-4], seed: {range: [1, 3]}}",
    )
    resources: ResourcesModel | None = about(
        "What one job needs for itself.",
        "a GPU where the host has one",
        "resources: {gpus: 2, gpu_memory: 20GB}",
    )
    outputs: Outputs | None = about(
        "What comes home: `auto` (every file the job made or changed, up to 2 GB, the rest is listed), or "
        "patterns of files in the job's folder. "
        "`$ORCH_OUTPUT_DIR` always comes home.",
        "auto",
        'outputs: [checkpoints/**, "*.png"]',
    )
    pull: Pull | None = about(
        "`auto` brings the outputs home when the job ends, `never` leaves them there until `orch pull`.",
        "auto",
        "pull: never",
    )
    needs: Needs | None = about(
        "Jobs of this submission that must have succeeded before; they run on the same host, and "
        "`$ORCH_NEED_<JOB>` is that job's output folder (with a matrix: a folder with one folder for each cell).",
        "[]",
        "jobs:\n  prepare: {run: python prepare.py, resources: {gpus: 0}}\n"
        "  train:\n    run: python train.py --data $ORCH_NEED_PREPARE\n    needs: [prepare]",
    )
    priority: Priority | None = about("-100 to 100: what is higher starts first.", "0", "priority: 10")
    max_parallel: Count | None = about(
        "How many cells may run at once on one host; 0 is no limit.",
        "0",
        "run: python train.py ${{ matrix.args }}\nmatrix: {lr: [1e-3, 1e-4, 1e-5]}\nmax_parallel: 2",
    )
    max_failures: Count | None = about(
        "After so many failed cells on a host the rest there is held, until one of them is tried again; 0 is off.",
        "0",
        "run: python train.py ${{ matrix.args }}\nmatrix: {lr: [1e-3, 1e-4, 1e-5]}\nmax_failures: 2",
    )
    timeout: Limit | None = about("The longest time one attempt may take.", "none", "timeout: 12h")
    no_output: Limit | None = about("Silence that ends an attempt.", "none", "no_output: 30m")
    grace: Grace | None = about(
        "Time from asking the job to end (TERM) to ending it (KILL): long enough for its last checkpoint.",
        "30s",
        "grace: 2m",
    )
    retry: RetryModel | None = about(
        "When an attempt that failed is tried again by itself, in the same folder, with `ORCH_RESUME=1` and "
        "`ORCH_ATTEMPT` set.",
        "no tries",
        "retry: {max: 2, on: [host, oom], backoff: 1m}",
    )


class JobModel(JobKeys):
    """One job."""

    run: Script = Field(description=str(JobKeys.model_fields["run"].description))


class HostModel(Model):
    """A host that this project adds, or a name of the inventory that it sets otherwise."""

    ssh: SshText = Field(description='The login line, as in `"ssh -p 38076 root@host"`; `local` is this computer.')
    profile: ProfileName | None = about("What the provider's hosts have in common; `auto` finds out.", "auto")
    tags: list[Tag] | None = about("Words that `hosts: tag:WORD` finds.", "[]")
    gpus: GpuNumbers | None = about("The GPUs that jobs may use there, by number as in `[2, 3]`.", "all")
    max_gpus: MaxGpus | None = about("How many of them orch may use at once, on a server shared with others.", "all")
    root: Root = about("Folder for orch's queue, code and results on the host.", "auto")
    python: Line | None = about("The Python (3.8 or newer) that orch itself uses there.", "the first that is found")


class FileModel(Model):
    """The whole file."""

    version: Version | None = about(
        "The version of this file's format; `1` is the only one.", "1", f"version: 1\n{_FILE_JOBS}"
    )
    project: Project | None = about(
        "The scope of job names: commands see the jobs of this folder's project.",
        "the folder's name",
        f"project: digits\n{_FILE_JOBS}",
    )
    hosts: dict[HostName, HostModel] | None = about(
        "Hosts of this project, beside those of `orch host add`; a name that is there too is set otherwise. "
        "A password may not stand here: it is asked for.",
        "{}",
        f'hosts:\n  box1: {{ssh: "ssh -p 38076 root@connect.example.com", tags: ["4090"]}}\n{_FILE_JOBS}',
    )
    defaults: JobKeys | None = about(
        "Keys that every job has unless it says otherwise: maps are joined key by key, `python` and everything else "
        "is replaced, `null` clears.",
        "{}",
        "defaults:\n  python: {conda: base}\n  env: {A: 1}\njobs:\n"
        "  train: {run: python train.py, env: {B: 2}}      # A and B\n"
        "  evaluate: {run: python eval.py, python: null}   # A; the host's own Python",
    )
    # Any, because each job is checked by itself, with the defaults under it.
    jobs: dict[JobName, Any] = Field(
        description="The jobs by name: letters, digits, `_` and `-`, beginning with a letter or `_`.",
        json_schema_extra={EXAMPLE: _FILE_JOBS},
    )
