"""Asking whether somebody holds a lock file, and holding the spool's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Iterator


def is_held(path: str) -> bool:
    """Tell whether some process holds an exclusive flock on a file. False when the file does not exist.

    The probe itself holds a shared lock for microseconds, so who takes such a lock tries more than once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def holding(path: str, exclusive: bool) -> Iterator[None]:
    """Hold a lock file, waiting for it as long as it takes.

    Raises:
        OSError: it cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
