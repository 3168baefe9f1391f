"""keeper/log: what the keeper did and what went wrong, at most two files of 1 MB."""

from __future__ import annotations

import contextlib
import os
import time
import traceback

LIMIT = 1024 * 1024


class KeeperLog:
    """Appends lines to a file and puts the full one aside as `log.1`.

    Args:
        path: of the log. Its descriptor is also what children of the keeper get as stderr.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.descriptor = self._open()

    def say(self, text: str) -> None:
        """Append one line with the time. A full disk loses the line and nothing else."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError):
            os.write(self.descriptor, "{} {}\n".format(stamp, text).encode("utf-8", "replace"))
            if os.fstat(self.descriptor).st_size > LIMIT:
                os.replace(self._path, self._path + ".1")
                # The number stays the same: it is this process's stderr too.
                fresh = self._open()
                os.dup2(fresh, self.descriptor, inheritable=False)
                os.dup2(self.descriptor, 2)
                os.close(fresh)

    def trouble(self, what: str) -> None:
        """Append the exception that is being handled."""
        self.say("{}\n{}".format(what, traceback.format_exc().rstrip()))

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)
