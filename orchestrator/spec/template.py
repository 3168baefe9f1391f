"""What `orch init` writes: a jobs.yaml that fits the folder it stands in."""

from __future__ import annotations

import json
import re
from pathlib import Path

from orchestrator.spec.expand import project_name
from orchestrator.spec.loader import MAX_BYTES

_ENTRIES = ("train.py", "main.py", "run.py", "src/train.py", "scripts/train.py")
_WRAPPERS = ("train.sh", "run.sh")
_NOT_TRAINING = ("_", "setup", "test", "conf", "util")
_PLAIN = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_TEMPLATE = """\
# What to run, and where: `orch submit` reads this file; `orch schema` prints every key of it.
project: {project}

jobs:
  train:
    run: {run}
    {setup}
    # python: {{conda: NAME}}           # default: the host's own (conda's base where there is one)
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
    return _TEMPLATE.format(project=_quoted(project_name(folder.resolve())), run=_run(folder), setup=_setup(folder))


def _quoted(word: str) -> str:
    """Return a word as YAML; a JSON string is one, whatever the word."""
    return (
        word
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", word) and word.lower() not in _WORDS
        else json.dumps(word, ensure_ascii=False)
    )


_WORDS = frozenset(("null", "true", "false"))


def _run(folder: Path) -> str:
    for name in _ENTRIES:
        if (folder / name).is_file():
            return f"python {name}"
    for name in _WRAPPERS:
        if (folder / name).is_file():
            return f"bash {name}"
    scripts = sorted(path.name for path in folder.glob("*.py") if not path.name.startswith(_NOT_TRAINING))
    mains = [name for name in scripts if _has_main(folder / name)]
    for name in mains or scripts:
        if _PLAIN.fullmatch(name):
            return f"python {name}"
    return "python train.py"


def _has_main(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"__main__" in file.read(MAX_BYTES)
    except OSError:
        return False


def _setup(folder: Path) -> str:
    if (folder / "requirements.txt").is_file():
        return "setup: pip install -r requirements.txt"
    for name in ("environment.yml", "environment.yaml"):
        if (folder / name).is_file():
            # Only a proposal: it may replace the PyTorch that the host's base environment came with.
            return f"# setup: conda env update -n base -f {name}"
    return "# setup: pip install -r requirements.txt   # once per host, before a GPU is held"
