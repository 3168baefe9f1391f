"""The results folder of one job on this computer: nothing in it is overwritten, nothing is written outside it."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import RefusedError
from orchestrator.fetch.names import PARTIAL, encode_part, for_attempt
from remote_payload.agent.wire.messages import JobView

CHUNK = 1024 * 1024
JOB_FILE = "job.json"
WINDOWS = os.name == "nt"
_MAX_TIME = 253402300799.0
"""The last second of the year 9999."""


class Blocked(Exception):
    """This one result cannot be put where it belongs; the text says why."""


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into one sentence.

    Raises:
        RefusedError: the folder cannot take what is written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why, hint = "the disk of this computer is full", "Make room, then `orch pull` goes on where it stopped."
        else:
            why, hint = error.strerror or str(error), "Mend that, or choose another folder with `orch pull --to`."
        raise RefusedError(f"results cannot be written to {folder}: {why}", hint) from error


def open_folder(dest: Path, view: JobView) -> JobFolder:
    """Return the folder of a job, made when it is not there.

    Args:
        dest: the results folder; the job's is `dest/<submission>/<job name>`.
        view: the job.
    """
    above = dest / encode_part(str(view["submission"]), windows=WINDOWS)
    name = encode_part(str(view["name"]), windows=WINDOWS)
    folder = above / name
    known = read_view(folder / JOB_FILE)
    if known is not None and known.get("id") != view["id"]:
        folder = above / encode_part(f"{name}.{view['id']}", windows=WINDOWS)
    folder.mkdir(parents=True, exist_ok=True)
    return JobFolder(folder)


def read_view(path: Path) -> dict[str, Any] | None:
    """Return the view an earlier pull wrote, None when there is none."""
    try:
        view = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return view if isinstance(view, dict) else None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def replace_text(path: Path, text: str) -> None:
    """Write a file that orch itself keeps up to date: beside it first, then in its place."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_text(text, "utf-8", newline="")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


class JobFolder:
    """Where one job's results go.

    Args:
        path: an existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partials = path / PARTIAL
        self._made: set[Path] = {path}

    def partial(self, sha256: str) -> Path:
        """Return where the bytes of a file are gathered; the name is the digest they will have, so that a later pull
        knows what it may go on with."""
        self._partials.mkdir(exist_ok=True)
        return self._partials / sha256

    def tidy(self) -> None:
        """Remove the folder for partial files when it is empty."""
        try:
            self._partials.rmdir()
        except OSError:
            return

    def folds_case(self) -> bool:
        """Whether this file system takes `A` and `a` for the same name."""
        probe = self.path / f".orch-Aa-{secrets.token_hex(4)}"
        probe.touch()
        try:
            return probe.with_name(probe.name.lower()).exists()
        finally:
            probe.unlink()

    def find(self, local: str, size: int, sha256: str, attempt: int) -> tuple[Path, bool]:
        """Return where a file goes and whether it is there already.

        What stands there with another content stays, and the file gets a name with its attempt's number.

        Raises:
            Blocked: the way there leads through a symlink or a file.
        """
        target = self.inside(local)
        names = for_attempt(target.name, attempt)
        while _exists(target):
            if _holds(target, size, sha256):
                return target, True
            target = target.with_name(next(names))
        return target, False

    def link(self, local: str, to: str, attempt: int) -> bool:
        """Make a symlink; returns False when it is there already.

        Raises:
            Blocked: this system makes no symlinks, or the way there leads through a symlink or a file.
        """
        target = self.inside(local)
        names = for_attempt(target.name, attempt)
        while _exists(target):
            if target.is_symlink() and os.readlink(target) == to:  # noqa: PTH115 - as it stands
                return False
            target = target.with_name(next(names))
        try:
            target.symlink_to(to)
        except (OSError, ValueError) as error:
            raise Blocked(f"a symlink to {to} cannot be made here: {error}") from error
        return True

    def inside(self, local: str) -> Path:
        """Return the path of a result, its folders made.

        Raises:
            Blocked: a part of the way is a symlink or a file.
        """
        path = self.path
        *above, name = local.split("/")
        for part in above:
            path = path / part
            if path in self._made:
                continue
            if not _exists(path):
                path.mkdir(exist_ok=True)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise Blocked(f"{part} is in the way, which is no folder here")
            self._made.add(path)
        return path / name

    def finish(self, partial: Path, target: Path, *, executable: bool, mtime: float) -> bool:
        """Give a gathered file its mode, time and name; returns False when the name was taken meanwhile."""
        if not WINDOWS:
            partial.chmod((0o777 if executable else 0o666) & ~_UMASK)
        if math.isfinite(mtime):
            at = min(max(mtime, 0.0), _MAX_TIME)
            os.utime(partial, (at, at))
        return rename_new(partial, target)

    def copy(self, source: Path, target: Path) -> bool:
        """Make a second file with the same bytes, mode and time; returns False when the name was taken meanwhile."""
        beside = self.partial(secrets.token_hex(8))
        shutil.copy2(source, beside)
        return rename_new(beside, target)


def rename_new(source: Path, target: Path) -> bool:
    """Rename without ever replacing anything; returns False (source stays) when the target exists."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:
        # No hard links on this file system: look, then rename.
        if os.path.lexists(target):
            return False
        source.rename(target)
        return True
    source.unlink()
    return True


def _exists(path: Path) -> bool:
    """Whether something stands there, be it a dangling symlink.

    Raises:
        Blocked: this system cannot hold the name.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise Blocked(f"this computer cannot hold the name: {error.strerror}") from error
        raise
    return True


def _holds(path: Path, size: int, sha256: str) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size == size and file_digest(path) == sha256


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _read_umask()
"""Read once: it cannot be read without being set, and other threads may be making files later."""
