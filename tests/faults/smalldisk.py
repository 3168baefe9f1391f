"""A small real filesystem that can be filled to the last block."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import TracebackType

MOUNT = ("mount", "-t", "tmpfs", "-o", "size={size},mode=700,uid={uid},gid={gid}", "orch-test", "{folder}")


class SmallDisk:
    """A tmpfs of some bytes, mounted at a folder. A context manager.

    Mounting is the right of root, or of somebody who may use sudo without a password.

    Args:
        folder: made where it is not there.
        size: bytes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        words = [word.format(size=size, uid=os.getuid(), gid=os.getgid(), folder=folder) for word in MOUNT]
        self._sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        done = subprocess.run([*self._sudo, *words], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise AssertionError(f"a full disk cannot be tried here, mount is refused: {done.stderr.strip()}")

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Take all blocks, then give back `leave` bytes."""
        with self._filler.open("ab", buffering=0) as filler:
            for step in (1 << 20, 1 << 16, 1 << 12, 1):
                try:
                    while True:
                        filler.write(b"\0" * step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            filler.truncate(max(0, filler.tell() - leave))

    def free(self) -> None:
        """Give all blocks back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        subprocess.run([*self._sudo, "umount", "-l", str(self.folder)], capture_output=True, timeout=30, check=True)

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
