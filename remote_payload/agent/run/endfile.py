"""end.json, written even when the disk is full: its blocks are taken while there are some, and filled in at the end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import Any, Dict, Optional

from remote_payload.agent.crash import crash
from remote_payload.agent.machine import compat

RESERVED_BYTES = 8192
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_RETRY_SECONDS = 0.5


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that no more can be written (full disk or quota)."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


class EndFile:
    """The place of one attempt's end.json.

    Args:
        path: where end.json will stand. The reserved file lies beside it until then.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._beside = path + ".reserved"
        self._descriptor: Optional[int] = None

    def reserve(self) -> None:
        """Take the blocks.

        Raises:
            OSError: the disk is full already.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._beside, flags, 0o600)
        compat.reserve(self._descriptor, RESERVED_BYTES)
        os.fsync(self._descriptor)

    def write(self, end: Dict[str, Any]) -> None:
        """Put end.json in place, durably. Waits as long as a full disk makes it: an attempt without an end is lost.

        Raises:
            OSError: anything but a full disk (the folder is gone).
        """
        while True:
            try:
                self.write_now(end)
                return
            except OSError as error:
                if not is_disk_full(error):
                    raise
            time.sleep(_RETRY_SECONDS)

    def write_now(self, end: Dict[str, Any]) -> None:
        """Put end.json in place, durably, in one try.

        Raises:
            OSError: the disk is full, or the folder is gone.
        """
        data = _fitting(end)
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._beside, flags, 0o600)
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], done)
        # Blanks after JSON are harmless: should cutting the file fail, it is still read as it is meant.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, len(data))
        os.fsync(self._descriptor)
        crash("end.filled")
        os.rename(self._beside, self._path)
        crash("end.renamed")
        os.close(self._descriptor)
        self._descriptor = None
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _fitting(end: Dict[str, Any]) -> bytes:
    data = json.dumps(end, sort_keys=True).encode("ascii")
    if len(data) > RESERVED_BYTES:
        data = json.dumps({**end, "detail": str(end.get("detail", ""))[:400]}, sort_keys=True).encode("ascii")
    return data
