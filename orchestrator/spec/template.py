"""What `orch init` writes: a jobs.yaml that fits the folder it stands in."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from orchestrator.spec.expand import project_name
from orchestrator.spec.loader import MAX_BYTES

_ENTRIES = ("train.py", "main.py", "run.py", "src/train.py", "scripts/train.py")
_WRAPPERS = ("train.sh", "run.sh")
_NOT_TRAINING = ("_", "setup", "test", "conf", "util")
_PLAIN = re.compile(r"[A-Za-z][\w. /-]*", re.ASCII)
_CONDA_FILES = ("environment.yml", "environment.yaml")
_CONDA_NAME = re.compile(rb"^name:[ \t]*([A-Za-z0-9_][A-Za-z0-9_.-]{0,59})[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_TEMPLATE = """\
# What to run, and where: `orch submit` reads this file; `orch schema` prints every key of it.
project: {project}

jobs:
  train:
    run: {run}
    {setup}
    # python: {{conda: {conda}}}           # default: the host's own (conda's base where there is one)
    # hosts: any                      # or a name from `orch host list`, a list, tag:WORD
    # resources: {{gpus: 1, gpu_memory: 20GB}}
    # secrets: ["WANDB_API_KEY?"]     # from this computer's environment, its keyring or netrc; `?` = optional
    # timeout: 12h
    # outputs: [checkpoints/**]       # default: every file the job makes or changes

    # One job for each combination; add ${{{{ matrix.args }}}} to `run`:
    # matrix: {{lr: [1e-3, 1e-4], batch-size: [64, 128]}}
"""


def starter(folder: Path) -> str:
    """Return a jobs.yaml for a folder: what it seems to run, and what that needs. It loads as it is.

    Args:
        folder: looked at, not below its first level but for src/ and scripts/.
    """
    return _TEMPLATE.format(
        project=_quoted(project_name(folder.resolve())), run=_run(folder), setup=_setup(folder), conda=_conda(folder)
    )


def _quoted(text: str) -> str:
    """Return a text as YAML; a JSON string is one, whatever the text."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


_WORDS = frozenset(("null", "true", "false"))


def _run(folder: Path) -> str:
    for name in _ENTRIES:
        if (folder / name).is_file():
            return f"python {name}"
    for name in _WRAPPERS:
        if (folder / name).is_file():
            return f"bash {name}"
    scripts = sorted(path.name for path in folder.glob("*.py") if _is_script(path))
    mains = [name for name in scripts if b"__main__" in _content(folder / name)]
    for name in mains or scripts:
        return _quoted(f"python {shlex.quote(name)}")
    return "python train.py   # the command that you would type"


def _is_script(path: Path) -> bool:
    return path.is_file() and path.name.isprintable() and not path.name.startswith(_NOT_TRAINING)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""


def _conda(folder: Path) -> str:
    for name in _CONDA_FILES:
        found = _CONDA_NAME.search(_content(folder / name))
        if found:
            return found[1].decode("ascii")
    return "NAME"


def _setup(folder: Path) -> str:
    if (folder / "requirements.txt").is_file():
        return "setup: pip install -r requirements.txt"
    for name in _CONDA_FILES:
        if (folder / name).is_file():
            # Only a proposal: it may replace the PyTorch that the host's base environment came with.
            return f"# setup: conda env update -n base -f {name}"
    return "# setup: pip install -r requirements.txt   # once per host, before a GPU is held"
