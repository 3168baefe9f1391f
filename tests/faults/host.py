"""One host of a round: a HOME, cards and a clock of its own; everything on it can be killed, cut or set wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import UnreachableError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.local import LocalTransport, plain_environment
from orchestrator.remote.streams import Transport
from tests.faults.smalldisk import SmallDisk
from tests.faults.spoolfiles import is_held, load
from tests.harness.ssh_place import SshPlace
from tests.harness.waiting import wait_until
from tests.integration.stand_in_gpu import StandInGpus

CARDS = ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090")
POINTS = "ORCH_CRASH_POINT"
CLOCK = "ORCH_TEST_CLOCK"


class FaultyHost:
    """A context manager: at its end nothing of the host is left.

    Args:
        folder: for everything of it; its last part is the host's name.
        agents: a folder where all hosts keep the unpacked agent, so that it is unpacked once.
        ssh: reach it through a real sshd and a proxy that can be cut.
        root: where its spool goes, None for its home.
        cards_of: another host whose cards it shares, as two users of one server do.
        disk: the small disk that `root` lies on, if it does; it is not closed here.
        points: crash points NAME:N;… of every agent that is started here; each kills once.
    """

    def __init__(
        self,
        folder: Path,
        agents: Path,
        *,
        ssh: bool = False,
        root: Path | None = None,
        disk: SmallDisk | None = None,
        cards_of: FaultyHost | None = None,
        points: str = "",
    ) -> None:
        self.name = folder.name
        self.folder = folder
        self.disk = disk
        self.home = folder / "home"
        self._tools: Path = cards_of._tools if cards_of else folder / "tools"
        for each in (self.home / ".orch", self._tools, agents):
            each.mkdir(parents=True, exist_ok=True)
        (self.home / ".orch" / "agent").symlink_to(agents)
        self._identity = folder / "identity"
        self._clock = folder / "clock"
        self._counts = 0
        self._armed: dict[str, int] = {}
        self.become(self.name)
        self._gpus = None if cards_of else StandInGpus(self._tools, CARDS)
        # Held while the host is down: nobody can log in then.
        self.door = threading.Lock()
        env = {CLOCK: str(self._clock)}
        self._env = {**plain_environment(str(self.home)), **env}
        if points:
            self._env[POINTS] = self.count(points)
        self.ssh = SshPlace(folder, self.home, env=env) if ssh else None
        self.profile: dict[str, Any] = {
            "name": "generic",
            "identity": ["cat", str(self._identity)],
            "root": str(root) if root else None,
            "conda_roots": [],
            "path": f"{self._tools}:/usr/local/bin:/usr/bin:/bin",
        }
        self.root = self._first_root()

    @contextlib.contextmanager
    def link(self, points: str = "") -> Iterator[AgentLink]:
        """Connect. points: crash points of the agent that is started, and of all that it starts (not over SSH)."""
        with self.door:
            transport: Transport
            if self.ssh is not None:
                transport = self.ssh.transport()
            else:
                armed = {POINTS: self.count(points)} if points else {}
                transport = LocalTransport(self.name, {**self._env, **armed})
        try:
            link = AgentLink.open(self.name, transport, profile=self.profile)
        except BaseException:
            transport.close()
            raise
        with link:
            yield link

    def count(self, points: str) -> str:
        """Return crash points `NAME:N;…`, each with a file of its own to count in, so that each kills once."""
        armed = []
        for word in filter(None, points.split(";")):
            self._counts += 1
            name, _, times = word.partition(":")
            self._armed[f"count-{self._counts}-{name}"] = int(times)
            armed.append(f"{word}:{self.folder / 'count'}-{self._counts}-{name}")
        return ";".join(armed)

    def crashes(self) -> int:
        """Return how many armed crash points killed a process."""
        armed = {path.name: path.stat().st_size for path in self.folder.glob("count-*")}
        return sum(size >= self._armed.get(name, 1) for name, size in armed.items())

    def passed(self) -> set[str]:
        """Return the armed crash points that some process came to."""
        return {path.name.split("-", 2)[2] for path in self.folder.glob("count-*")}

    def _first_root(self) -> Path:
        """Connect until it works: a crash point may lie on the way to a first spool."""
        for _ in range(4):
            with contextlib.suppress(UnreachableError), self.link() as link:
                return Path(link.opened["root"])
        raise AssertionError(f"{self.name} does not come up")

    def become(self, identity: str) -> None:
        """Be another machine from now on."""
        self._identity.write_text(identity)

    def set_clock(self, seconds: float) -> None:
        """Set the clock ahead of the real one."""
        beside = self._clock.with_suffix(".new")
        beside.write_text(str(seconds))
        beside.rename(self._clock)

    def pids(self, role: str = "", job: str = "") -> list[int]:
        """Return the agent's processes on this host; those of one role (serve, keeper, supervise) and of one job."""
        found = []
        for place in Path("/proc").iterdir():
            if not place.name.isdigit():
                continue
            words = _read(place / "cmdline").split(b"\0")
            mine = f"HOME={self.home}".encode() in _read(place / "environ").split(b"\0")
            roles = {word.decode() for word in words if word in (b"serve", b"serve-bulk", b"keeper", b"supervise")}
            if mine and roles and (not role or role in roles) and (not job or job.encode() in words):
                found.append(int(place.name))
        return found

    def kill(self, role: str, which: float = 0.0, job: str = "") -> bool:
        """Kill one process of a role; which: 0 to 1, the first to the last. False when there is none."""
        pids = sorted(self.pids(role, job))
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[min(len(pids) - 1, int(which * len(pids)))], signal.SIGKILL)
        return bool(pids)

    def reboot(self, identity: str = "") -> None:
        """End every process of the host at once, as a reboot does; what ran says then that it was another boot.

        identity: also come back as another machine (a saved image started elsewhere).
        """
        with self.door:
            wait_until(self._all_killed, 20, f"{self.name} is down")
            for start in self.root.glob("jobs/*/attempts/*/start.json"):
                said = load(start, [])
                if said and not start.with_name("end.json").exists():
                    beside = start.with_suffix(".boot")
                    beside.write_text(json.dumps({**said, "boot": {"id": "before", "pid1_start": "1"}}))
                    beside.rename(start)
            if identity:
                self.become(identity)

    def start_keeper(self, points: str = "") -> subprocess.Popen[bytes]:
        """Start a keeper by hand."""
        agent = next(path for path in (self.home / ".orch" / "agent").glob("*/*") if (path / "__main__.py").exists())
        python = shutil.which("python3") or "python3"
        armed = {POINTS: self.count(points)} if points else {}
        return subprocess.Popen(
            [python, "-I", "-S", str(agent), "keeper", str(self.root)],
            env={**self._env, **armed},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def is_idle(self) -> bool:
        """Whether no keeper and no supervisor lives."""
        return not is_held(self.root / "keeper" / "lock") and not self.pids("keeper") and not self.pids("supervise")

    def trouble(self) -> str:
        """Return the end of the keeper's log."""
        path = self.root / "keeper" / "log"
        return f"--- {self.name}\n" + (path.read_text(errors="replace")[-3000:] if path.exists() else "")

    def close(self) -> None:
        """End what is left."""
        wait_until(self._all_killed, 20, f"{self.name} is empty")
        if self.ssh is not None:
            self.ssh.close()
        if self._gpus is not None:
            self._gpus.__exit__(None, None, None)

    def _all_killed(self) -> bool:
        """Kill everything once; True when there was nothing."""
        mine = f"HOME={self.home}".encode()
        left = self.pids()
        for place in Path("/proc").iterdir():
            if place.name.isdigit() and int(place.name) != os.getpid():
                job = b"ORCH_ATTEMPT_MARKER=" in (environ := _read(place / "environ")) and mine in environ.split(b"\0")
                if job or _holds(place, os.fsencode(self.root) + b"/jobs/"):
                    left.append(int(place.name))
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left


def _holds(place: Path, folder: bytes) -> bool:
    try:
        links = [place / "cwd", *(place / "fd").iterdir()]
        return any(os.fsencode(each.readlink()).startswith(folder) for each in links)
    except OSError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
