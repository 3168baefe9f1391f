"""The one place where spool files are written and read: whole or not at all, and durable when the call returns."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from typing import Any, Dict, Optional

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault

MAX_FILE = 256 * 1024 * 1024
"""Bytes; no spool file that is read whole is larger."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class SpoolFileError(AgentFault):
    """A spool file holds something else than this agent writes (cut short by a crash, edited by hand)."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            "internal",
            "the spool file {} cannot be used: {}".format(path, why),
            "move that file away; what it recorded is lost",
        )
        self.path = path


def make_folder(path: str) -> None:
    """Make a folder and those above it, mode 0700, durably enough for what is put into it."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def sync_folder(path: str) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems know no fsync of a folder.
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: str, data: bytes) -> None:
    """Put `data` at `path`, replacing what is there. Readers see the old or the new, whole.

    Raises:
        OSError: no room, no permission; nothing has changed then.
    """
    temporary = _write_beside(path, data)
    crash("atomic.before_rename")
    try:
        os.rename(temporary, path)
    except OSError:
        _forget(temporary)
        raise
    crash("atomic.renamed")
    sync_folder(os.path.dirname(path))


def write_json(path: str, value: Any) -> None:
    """Put `value` at `path` as JSON; see write_bytes."""
    write_bytes(path, encode(value))


def create_json(path: str, value: Any) -> bool:
    """Put `value` at `path` unless something is there already.

    Returns:
        False when the file existed; it is as it was.

    Raises:
        OSError: no room, no permission.
    """
    data = encode(value)
    temporary = _write_beside(path, data)
    crash("atomic.before_link")
    try:
        os.link(temporary, path)
        crash("atomic.linked")
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not _create_plain(path, data):
            return False
    finally:
        _forget(temporary)
    sync_folder(os.path.dirname(path))
    return True


def encode(value: Any) -> bytes:
    """Return JSON as spool files hold it: ASCII, undecodable file names as surrogate escapes, a final newline."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii") + b"\n"


def read_bytes(path: str) -> Optional[bytes]:
    """Return a file's bytes, None when it does not exist.

    Raises:
        SpoolFileError: it cannot be read, is no plain file or over MAX_FILE.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SpoolFileError(path, error.strerror or str(error)) from error
    if len(data) > MAX_FILE:
        raise SpoolFileError(path, "it is over {} bytes".format(MAX_FILE))
    return data


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """Return the JSON object in a file, None when the file does not exist.

    Raises:
        SpoolFileError: it is cut short, not JSON, or not an object.
    """
    value = read_value(path)
    if value is not None and not isinstance(value, dict):
        raise SpoolFileError(path, "it is not a JSON object")
    return value


def read_value(path: str) -> Any:
    """Return whatever JSON a file holds, None when the file does not exist.

    Raises:
        SpoolFileError: it is cut short or not JSON.
    """
    data = read_bytes(path)
    if data is None:
        return None
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpoolFileError(path, "it is not JSON ({})".format(error)) from error


def _write_beside(path: str, data: bytes) -> str:
    # A name of its own for each writer: two of them must never fill one temporary file.
    temporary = "{}.{}.tmp".format(path, uuid.uuid4().hex[:12])
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            crash("atomic.opened")
            _write_all(descriptor, data)
            crash("atomic.written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        _forget(temporary)
        raise
    return temporary


def _create_plain(path: str, data: bytes) -> bool:
    """For file systems without hard links: a reader may see the file half written, and reads again."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _forget(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
