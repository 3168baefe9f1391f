"""Every system call the agent uses that is newer than Python 3.7 or that Python does not offer, with its fallback."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from typing import Any, Optional

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Make orphaned descendants children of this process instead of PID 1's.

    Returns:
        False where the kernel or the C library has no such call (Linux has it since 3.4); members of an attempt are
        then found by their other traces only.
    """
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def open_process(pid: int) -> Optional[int]:
    """Return a descriptor that means exactly this process, or None where that is not possible.

    Python has the call since 3.9, Linux since 5.3; containers may forbid it.

    Raises:
        ProcessLookupError: there is no such process.
    """
    pidfd_open: Any = getattr(os, "pidfd_open", None)
    if pidfd_open is None or not hasattr(signal, "pidfd_send_signal"):
        return None
    try:
        return int(pidfd_open(pid))
    except ProcessLookupError:
        raise
    except OSError:
        return None


def signal_process(descriptor: int, signum: int) -> None:
    """Send a signal to the process a descriptor of `open_process` means.

    Raises:
        ProcessLookupError: it has ended.
        PermissionError: it belongs to somebody else.
    """
    send: Any = getattr(signal, "pidfd_send_signal", None)
    if send is None:
        raise OSError(errno.ENOSYS, "pidfd_send_signal is missing")
    send(descriptor, signum)


def reserve(descriptor: int, size: int) -> None:
    """Take blocks for the first `size` bytes of a file, so that writing them later cannot fail for want of space.

    Raises:
        OSError: ENOSPC or EDQUOT, when the disk is full already.
    """
    allocate: Any = getattr(os, "posix_fallocate", None)
    if allocate is not None:
        try:
            allocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
    done = 0
    while done < size:
        done += os.pwrite(descriptor, b"\0" * min(size - done, 65536), done)
