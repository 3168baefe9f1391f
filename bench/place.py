"""A laptop and a real sshd on loopback, reached by orch and by the OpenSSH client with the same key."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.commands import Took, run
from orchestrator.loopback import BARE_PATH
from remote_payload.agent.spool.paths import SpoolPaths
from tests.harness.hosts import RealHost
from tests.harness.strays import strays
from tests.harness.waiting import wait_until

NAME = "box"


class Place:
    """One host and whoever works on it from the laptop.

    Args:
        real: the sshd, running.
        far: connect through the delaying proxy; else straight to the server.

    Attributes:
        laptop: orch's side.
        tools: a folder on the host's PATH.
        scratch: a folder for the jobs' own marks, and for what peers copy.
    """

    def __init__(self, real: RealHost, far: bool) -> None:
        self.real = real
        self.far = far
        self.port = real.proxy.port if far else real.server.port
        self.laptop = real.laptop(known=False)
        known = f"[127.0.0.1]:{self.port} {real.server.public_key()}\n"
        (self.laptop.home / "orch" / "known_hosts").write_text(known, encoding="utf-8")
        self.tools = real.folder / "tools"
        self.scratch = real.folder / "scratch"
        self.scratch.mkdir()
        self._ssh_config(known)

    def _ssh_config(self, known: str) -> None:
        folder = self.real.folder
        (folder / "ssh_known").write_text(known, encoding="utf-8")
        lines = [
            f"Host {NAME}",
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"User {self.real.user_name}",
            f"IdentityFile {self.real.key}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f"UserKnownHostsFile {folder / 'ssh_known'}",
            "StrictHostKeyChecking yes",
            "LogLevel ERROR",
        ]
        (folder / "ssh_config").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def ssh(self) -> list[str]:
        """The OpenSSH client, as a person with a good configuration calls it."""
        return ["ssh", "-F", str(self.real.folder / "ssh_config")]

    @property
    def rsync(self) -> list[str]:
        """The peer for files."""
        return ["rsync", "-az", "-e", " ".join(self.ssh)]

    @property
    def login(self) -> str:
        """The login line for `orch host add`."""
        return f"ssh -p {self.port} -i {self.real.key} {self.real.user_name}@127.0.0.1"

    def add(self) -> None:
        """Meet the host, so that the agent is there."""
        self.orch("host", "add", NAME, self.login)

    def orch(self, *words: str, codes: Sequence[int] = (0,)) -> Took:
        """Run an orch command as a process of its own."""
        return run(self.laptop.argv(*words), self.laptop.environment(), self.laptop.folder, codes, self.laptop.home)

    def peer(self, *argv: str) -> Took:
        """Run a peer's command in the project folder."""
        return run(argv, {"PATH": os.environ["PATH"], "HOME": str(self.laptop.home)}, self.laptop.folder)

    def project(self, text: str, files: Mapping[str, bytes] | None = None) -> None:
        """Write the project: jobs.yaml and its code."""
        for name, data in (files or {}).items():
            path = self.laptop.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.laptop.jobs_yaml(text)

    @property
    def spool(self) -> SpoolPaths:
        """The host's spool."""
        (file,) = (self.real.home / ".orch" / "hosts").glob("*/root")
        return SpoolPaths(file.read_text(encoding="utf-8").strip())

    def processes(self) -> list[tuple[int, str]]:
        """Return pid and command line of every agent's process on this host."""
        mark, found = str(self.real.home).encode(), []
        for place in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                line = (place / "cmdline").read_bytes() if place.name.isdigit() else b""
                if mark in line:
                    found.append((int(place.name), line.replace(b"\0", b" ").decode(errors="replace")))
        return found

    def agents(self, role: str) -> list[int]:
        """Return the pids of the agent's processes of a role: keeper, supervise."""
        return [pid for pid, line in self.processes() if f" {role} " in line]

    def quiet(self, timeout: float = 60.0) -> None:
        """Wait until no job runs and the keeper has ended by itself."""
        wait_until(lambda: not self.agents("keeper") and not self.agents("supervise"), timeout, "a quiet host")

    def end(self) -> None:
        """End what still runs on the host, by pid."""

        def left() -> bool:
            # By the home too: the jobs' own processes name no part of the agent.
            found = {pid for pid, _ in self.processes()}
            found |= {int(line.split(":", 1)[0]) for line in strays(self.real.home)}
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return bool(found)

        wait_until(lambda: not left(), 20, "an empty host")


@contextlib.contextmanager
def place(*, far: bool = False, delay: float = 0.0, name: str = "") -> Iterator[Place]:
    """Yield a fresh host and laptop; everything of it is gone afterwards.

    Args:
        far: connect through the proxy.
        delay: seconds each direction takes there.
        name: the folder's, where there are several.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"orch-bench-{name}"))
    try:
        path = f"{folder / 'tools'}:{BARE_PATH}"
        (folder / "tools").mkdir()
        with RealHost(folder, path=path, delay=delay) as real:
            made = Place(real, far)
            try:
                yield made
            finally:
                made.end()
    finally:
        shutil.rmtree(folder)
