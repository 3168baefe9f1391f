"""The demo's host: a real sshd of its own on loopback, known to an ORCH_HOME of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from pathlib import Path

from orchestrator.demo_pip import write_pip_settings
from orchestrator.errors import HostError
from orchestrator.hosts.inventory import HostEntry, Inventory
from orchestrator.loopback import LoopbackHost, make_key, supported

NAME = "demo"
QUIET_SECONDS = 30.0


class DemoHost:
    """A context manager: the server runs and the host `demo` is in the inventory of `home`.

    The host's HOME lies in `home` and stays, so that a second demo finds its environment built.

    Args:
        home: an ORCH_HOME.
    """

    name = NAME

    def __init__(self, home: Path) -> None:
        if not supported():
            raise HostError(
                "the demo's server needs Linux or macOS", "On Windows use WSL2, or `orch demo --host NAME`."
            )
        self._home = home
        self._key = home / "keys" / "demo"
        self._server = LoopbackHost(home / "sshd", home / "host", [make_key(self._key)])

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._server.port

    @property
    def spool_home(self) -> Path:
        """HOME on the host."""
        return self._home / "host"

    @property
    def is_new(self) -> bool:
        """Whether no setup has succeeded on the host so far."""
        return not any(self.spool_home.glob(".orch/hosts/*/spool/envs/*/ready.json"))

    def __enter__(self) -> DemoHost:
        self._server.start()
        try:
            self._introduce()
        except BaseException:
            self._server.stop()
            raise
        return self

    def _introduce(self) -> None:
        write_pip_settings(self.spool_home)
        # Its key was made here a moment ago: it is known, not trusted blindly.
        line = f"[127.0.0.1]:{self.port} {self._server.public_key()}\n"
        (self._home / "known_hosts").write_text(line, encoding="utf-8")
        login = f"ssh -p {self.port} -i {shlex.quote(str(self._key))} {_login()}@127.0.0.1"
        inventory = Inventory(self._home)
        if any(entry.name == NAME for entry in inventory.list()):
            # An earlier demo's, perhaps as another user or from a folder that was moved: this one is not refreshed.
            inventory.remove(NAME)
        inventory.put(HostEntry(name=NAME, ssh=login))

    def __exit__(self, *exc: object) -> None:
        self._server.stop()

    def wait_until_quiet(self) -> None:
        """Return when no keeper and no setup is left on the host.

        Raises:
            HostError: one is still there after half a minute.
        """
        until = time.monotonic() + QUIET_SECONDS
        while alive := [pid for pid in self._pids() if self._is_ours(pid)]:
            if time.monotonic() > until:
                raise HostError(f"process {alive[0]} is still alive on the demo host")
            time.sleep(0.05)

    def _pids(self) -> list[int]:
        """What the spool says of its processes; the numbers may be old."""
        pids = []
        for path in self.spool_home.glob(".orch/hosts/*/spool/keeper/pid.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                pids.append(int(json.loads(path.read_text(encoding="utf-8"))["pid"]))
        for path in self.spool_home.glob(".orch/hosts/*/spool/envs/*/building"):
            with contextlib.suppress(OSError, ValueError):
                pids.append(int(path.read_text(encoding="ascii")))
        return pids

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.fsencode(self.spool_home) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:  # it has ended; macOS has no /proc and is not waited for
            return False


def _login() -> str:
    """Whoever runs this process: USER and LOGNAME may name somebody else (su, sudo, a container's environment)."""
    import pwd  # not on Windows, where this module is imported too

    return pwd.getpwuid(os.geteuid()).pw_name
