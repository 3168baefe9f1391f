"""Whether the folders that `code` names are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.spec.jobs import CodeSpec
from remote_payload.agent.spool.manifests import FILE, LINK


def code_folder(code: CodeSpec, folder: Path) -> Path:
    """Return the folder that is sent.

    Args:
        code: of a job.
        folder: what its path is relative to.

    Raises:
        ConfigError: there is no such folder.
    """
    root = (folder / code.path).resolve()
    if not root.is_dir():
        what = "is a file" if root.exists() else "is not there"
        raise ConfigError(f"{code.position}: the folder {code.path!r} {what}", f"It is looked for at {root}.")
    return root


def check_start(code: CodeSpec, entries: Iterable[Mapping[str, object]]) -> None:
    """Let a job pass whose `code.dir` is a folder of its code.

    Args:
        code: of the job.
        entries: the manifest's (`p` path, `t` kind).

    Raises:
        ConfigError: no such folder is sent.
    """
    if code.dir == ".":
        return
    for entry in entries:
        path = str(entry["p"])
        if path.startswith(f"{code.dir}/") or (path == code.dir and entry["t"] != FILE):
            return
        # What lies behind a symlink is for the host to find.
        if entry["t"] == LINK and code.dir.startswith(f"{path}/"):
            return
    hint = "Is it left out by an ignore rule? `orch submit --dry-run` lists what is sent."
    raise ConfigError(f"{code.position}: `code.dir` names {code.dir!r}, and no such folder is sent", hint)
