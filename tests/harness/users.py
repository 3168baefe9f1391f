"""Users of this system that exist for one test: password logins, and hosts where nobody is root. Needs root."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.harness.waiting import wait_until

_TIMEOUT = 60.0


class SystemUser:
    """A user with a password and a HOME. A context manager; leaving it removes the user and its processes.

    Args:
        shell: name of the login shell.

    Attributes:
        name, password, home, uid: of the user.
    """

    def __init__(self, shell: str = "bash") -> None:
        place = shutil.which(shell)
        assert place, f"{shell} is not installed"
        self.name = "orch-" + secrets.token_hex(4)
        self.password = secrets.token_urlsafe(9)
        # Not below a test's own folder: that one is closed to everybody but its owner.
        self.home = Path(tempfile.mkdtemp(prefix=self.name))
        _run("useradd", "-M", "-d", str(self.home), "-s", place, self.name)
        _run("chpasswd", text=f"{self.name}:{self.password}\n")
        self.uid = pwd.getpwnam(self.name).pw_uid
        self.own(self.home)

    def own(self, folder: Path) -> None:
        """Give a folder and what is in it to the user."""
        for place in (folder, *folder.rglob("*")):
            os.lchown(place, self.uid, pwd.getpwnam(self.name).pw_gid)

    def processes(self) -> list[int]:
        """Return the pids of its processes."""
        found = []
        for place in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if place.name.isdigit() and place.stat().st_uid == self.uid:
                    found.append(int(place.name))
        return found

    def remove(self) -> None:
        """End its processes and remove it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), 10, f"processes of {self.name} ended")
        _run("userdel", self.name)
        shutil.rmtree(self.home)

    def __enter__(self) -> SystemUser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _run(*argv: str, text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    assert done.returncode == 0, f"{argv[0]} (needs root): {done.stderr}"
