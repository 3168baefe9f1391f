"""The lease of a GPU as every user of the host can see it: locks on files in /tmp.

/tmp/orch-gpu-<uuid>.lock is held exclusively by an attempt that has the whole GPU, and shared by attempts that have a
part of it. Beside it stands one file for each spool that shares: its attempts hold it too, so that two spools, which
know nothing of each other's parts, never share one GPU.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from typing import Iterator, Optional, Tuple

FOLDER = "/tmp"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


def lock_path(uuid: str, folder: str = FOLDER) -> str:
    """Return the path of a GPU's lock file. Pure. Characters that have no place in a file name become "_"."""
    return os.path.join(folder, _stem(uuid) + ".lock")


def spool_key(root: str) -> str:
    """Return what names a spool in the files of those who share: user and a digest of its root."""
    return "{}-{}".format(os.getuid(), hashlib.sha256(os.fsencode(root)).hexdigest()[:8])


def take(uuid: str, folder: str = FOLDER) -> Optional[Tuple[int, ...]]:
    """Lock a whole GPU.

    Returns:
        A descriptor that holds the lock until every copy of it is closed, or None when somebody else has it or the
        file cannot be used. The file is never removed: a lock on an unlinked file would guard nothing.
    """
    descriptor = _locked(lock_path(uuid, folder), fcntl.LOCK_EX)
    return None if descriptor is None else (descriptor,)


def take_part(uuid: str, spool: str, folder: str = FOLDER) -> Optional[Tuple[int, ...]]:
    """Lock a part of a GPU.

    Args:
        spool: from `spool_key`.

    Returns:
        Two descriptors that hold the locks, or None when somebody has the whole GPU or another spool shares it.
    """
    common = _locked(lock_path(uuid, folder), fcntl.LOCK_SH)
    if common is None:
        return None
    own = _locked(_part_path(uuid, spool, folder), fcntl.LOCK_SH)
    # First announced, then looked: of two spools at the same moment at most one goes on.
    if own is None or any(_is_held(path) for path in _parts_of_others(uuid, spool, folder)):
        for descriptor in (common, own):
            if descriptor is not None:
                os.close(descriptor)
        return None
    return common, own


def is_taken(uuid: str, spool: str = "", folder: str = FOLDER) -> bool:
    """Tell whether a GPU is not to be had: somebody has the whole of it, or another spool shares it.

    Args:
        spool: from `spool_key`; parts that this one has do not count.
    """
    if any(_is_held(path) for path in _parts_of_others(uuid, spool, folder)):
        return True
    return _is_held(lock_path(uuid, folder), fcntl.LOCK_SH)


def _stem(uuid: str) -> str:
    return "orch-gpu-" + _NOT_PLAIN.sub("_", uuid)


def _part_path(uuid: str, spool: str, folder: str) -> str:
    return os.path.join(folder, "{}.part-{}.lock".format(_stem(uuid), spool))


def _parts_of_others(uuid: str, spool: str, folder: str) -> Iterator[str]:
    prefix, own = _stem(uuid) + ".part-", os.path.basename(_part_path(uuid, spool, folder))
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(prefix) and name != own:
                yield os.path.join(folder, name)


def _is_held(path: str, by_asking_for: int = fcntl.LOCK_EX) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, by_asking_for | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(path: str, kind: int) -> Optional[int]:
    descriptor = _open(path)
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _open(path: str) -> Optional[int]:
    # An existing file is opened read-only and without O_CREAT: it may be another user's, and in sticky folders the
    # kernel refuses O_CREAT on files of others (fs.protected_regular).
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
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
