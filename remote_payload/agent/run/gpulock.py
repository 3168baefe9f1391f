"""The lease of a GPU as every user of the host can see it: a lock on /tmp/orch-gpu-<uuid>.lock."""

from __future__ import annotations

import fcntl
import os
import re
from typing import Optional

FOLDER = "/tmp"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


def lock_path(uuid: str, folder: str = FOLDER) -> str:
    """Return the path of a GPU's lock file. Pure. Characters that have no place in a file name become "_"."""
    return os.path.join(folder, "orch-gpu-{}.lock".format(_NOT_PLAIN.sub("_", uuid)))


def take(uuid: str, folder: str = FOLDER) -> Optional[int]:
    """Lock a GPU.

    Returns:
        A descriptor that holds the lock until every copy of it is closed, or None when somebody else has it or the
        file cannot be used. The file is never removed: a lock on an unlinked file would guard nothing.
    """
    descriptor = _open(lock_path(uuid, folder))
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_taken(uuid: str, folder: str = FOLDER) -> bool:
    """Tell whether somebody holds a GPU's lock now, this user or another."""
    try:
        descriptor = os.open(lock_path(uuid, folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: str) -> Optional[int]:
    # An existing file is opened read-only and without O_CREAT: it may be another user's, and in sticky folders the
    # kernel refuses O_CREAT on files of others (fs.protected_regular).
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(2):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        except OSError:
            return None
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue
        except OSError:
            return None
        os.fchmod(descriptor, 0o644)
        return descriptor
    return None
