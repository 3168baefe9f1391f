"""Secrets of jobs: in a folder on tmpfs, so that they are on no disk; on disk only where a job asks for that."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from typing import Dict, List, Mapping

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import JobSpec

MEMORY_FOLDER = "/dev/shm"
MAX_VALUE = 1024 * 1024
"""Bytes of one secret."""
DISK = "disk"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_secret_name(text: object) -> bool:
    """Tell whether something can name a secret (and an environment variable)."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def memory_folder(paths: SpoolPaths) -> str:
    """Return where this spool's secrets lie in memory (it need not exist)."""
    name = hashlib.sha256(os.fsencode(paths.root)).hexdigest()[:12]
    return os.path.join(MEMORY_FOLDER, "orch-{}-{}".format(os.getuid(), name))


def is_tmpfs(path: str, mounts: str = "/proc/mounts") -> bool:
    """Tell whether a path lies on a file system that keeps its files in memory."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as stream:
            rows = [line.split() for line in stream]
    except OSError:
        return False
    real = os.path.realpath(path)
    best, kind = "", ""
    for row in rows:
        if len(row) >= 3:
            point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), row[1])
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            # Of two mounts on one point the later one is what is seen.
            if inside and len(point) >= len(best):
                best, kind = point, row[2]
    return kind in ("tmpfs", "ramfs")


def store(paths: SpoolPaths, spec: JobSpec, values: Mapping[str, str]) -> None:
    """Keep secrets until their job is final; names the job does not ask for are passed over.

    Raises:
        AgentFault: refused, when there is no file system in memory and the job did not allow a disk; bad_request, for
            a value over MAX_VALUE.
        OSError: no room.
    """
    for secret in spec["secrets"]:
        name = secret["name"]
        if name not in values or not is_secret_name(name):
            continue
        data = values[name].encode("utf-8", "surrogateescape")
        if len(data) > MAX_VALUE or b"\0" in data:
            raise AgentFault("bad_request", "the secret {} is over {} bytes or holds a NUL".format(name, MAX_VALUE))
        folder = _disk_folder(paths, spec["id"]) if secret["at_rest"] == DISK else _private_memory(paths, spec["id"])
        _make_private(folder)
        atomic.write_bytes(os.path.join(folder, name), data)


def read(paths: SpoolPaths, spec: JobSpec) -> Dict[str, str]:
    """Return the secrets of a job that are here."""
    found: Dict[str, str] = {}
    for secret in spec["secrets"]:
        data = atomic.read_bytes(_place(paths, spec["id"], secret["name"], secret["at_rest"]))
        if data is not None:
            found[secret["name"]] = data.decode("utf-8", "surrogateescape")
    return found


def missing(paths: SpoolPaths, spec: JobSpec) -> List[str]:
    """Return the names of secrets that a job cannot do without and that are not here."""
    return [
        secret["name"]
        for secret in spec["secrets"]
        if not secret["optional"] and not os.path.isfile(_place(paths, spec["id"], secret["name"], secret["at_rest"]))
    ]


def remove(paths: SpoolPaths, job: str) -> None:
    """Remove a job's secrets, wherever they lie."""
    for folder in (os.path.join(memory_folder(paths), paths.job(job).id), _disk_folder(paths, job)):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _place(paths: SpoolPaths, job: str, name: str, at_rest: str) -> str:
    if not is_secret_name(name):
        raise AgentFault("bad_request", "not a secret's name: {!r}".format(name)[:200])
    folder = _disk_folder(paths, job) if at_rest == DISK else os.path.join(memory_folder(paths), paths.job(job).id)
    return os.path.join(folder, name)


def _disk_folder(paths: SpoolPaths, job: str) -> str:
    return os.path.join(paths.secrets, paths.job(job).id)


def _private_memory(paths: SpoolPaths, job: str) -> str:
    if not os.path.isdir(MEMORY_FOLDER) or not is_tmpfs(MEMORY_FOLDER):
        raise AgentFault(
            "refused",
            "this host has no file system in memory ({}), so secrets would lie on its disk".format(MEMORY_FOLDER),
            "allow that for a secret with {name: NAME, at_rest: disk}",
        )
    return os.path.join(memory_folder(paths), paths.job(job).id)


def _make_private(folder: str) -> None:
    """Make the folder and the one above it, and believe neither that somebody else made first: /dev/shm is shared."""
    for path in (os.path.dirname(folder), folder):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise AgentFault("refused", "{} belongs to somebody else".format(path), "remove it, or ask its owner to")
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.chmod(path, 0o700)
