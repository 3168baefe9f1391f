"""A host for tests of attempts: the agent unpacked as a real host has it, a spool in a folder, real keepers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

from orchestrator.remote.payload import payload
from remote_payload.agent.machine.identity import host_id
from remote_payload.agent.run.processes import MARKER_NAME, living
from remote_payload.agent.spool import atomic, manifests
from remote_payload.agent.spool.paths import AttemptPaths, SpoolPaths
from remote_payload.agent.wire.messages import JobSpec
from tests.harness.waiting import wait_until

AGENT_PYTHON = os.environ.get("ORCH_TEST_AGENT_PYTHON") or sys.executable
"""What the agent runs with; the tests themselves stay on their own Python."""


def unpack_agent(folder: Path) -> Path:
    """Lay the agent out in a folder that can be run by its path."""
    with zipfile.ZipFile(io.BytesIO(zlib.decompress(payload().wire))) as archive:
        archive.extractall(folder)
    return folder


class KeeperHost:
    """One spool, and the keepers started for it.

    Args:
        agent: what `unpack_agent` made.
        folder: for the spool, HOME and tools of this host.
    """

    def __init__(self, agent: Path, folder: Path) -> None:
        self.agent = agent
        self.home = folder / "home"
        self.tools = folder / "tools"
        self.paths = SpoolPaths(str(folder / "spool"))
        self.keepers: list[subprocess.Popen[bytes]] = []
        for each in (self.home, self.tools, *map(Path, self.paths.folders())):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = ["echo", str(folder)]
        self.host_id = host_id(identity)
        atomic.write_bytes(self.paths.version, b"1\n")
        atomic.write_json(self.paths.host, {"host_id": self.host_id, "boot": {}})
        self.profile: dict[str, Any] = {"path": f"{self.tools}:/usr/local/bin:/usr/bin:/bin", "identity": identity}
        atomic.write_json(self.paths.profile, self.profile)

    def spec(self, run: str, **more: Any) -> JobSpec:
        """Return a job with everything at its default; its Python is this one, found without a login shell."""
        defaults: dict[str, Any] = {
            "id": "j-" + uuid.uuid4().hex[:12],
            "name": "train",
            "job": "train",
            "project": "test",
            "submission": "",
            "owner": "me",
            "params": {},
            "run": run,
            "setup": None,
            "python": {"kind": "path", "path": sys.executable},
            "snapshot": "",
            "dir": ".",
            "env": {},
            "secrets": [],
            "gpus": 0,
            "gpu_memory_mib": 0,
            "outputs": "auto",
            "pull": "auto",
            "timeout": None,
            "grace": 5.0,
            "requires": [],
            "submitted_at": time.time(),
        }
        return cast(JobSpec, {**defaults, **more})

    def store_tree(self, files: dict[str, str]) -> str:
        """Store a code tree as a pack and a manifest; return the snapshot's id."""
        entries: list[dict[str, Any]] = []
        index: list[dict[str, Any]] = []
        pack = b""
        for path, text in files.items():
            data = text.encode()
            digest = hashlib.sha256(data).hexdigest()
            entries.append({"p": path, "t": "f", "x": False, "s": len(data), "h": digest})
            index.append({"h": digest, "o": len(pack), "s": len(data), "z": False})
            pack += data
        manifest = {"version": 1, "entries": entries}
        snapshot = manifests.manifest_id(manifest)
        if pack:
            name = hashlib.sha256(pack).hexdigest()
            atomic.write_bytes(self.paths.pack(name), pack)
            atomic.write_json(self.paths.pack_index(name), index)
        atomic.write_json(self.paths.snapshot(snapshot), manifest)
        return snapshot

    def store(self, *specs: JobSpec, files: dict[str, str] | None = None) -> list[str]:
        """Store jobs as one submission, as serve does; return their ids."""
        submission = "s-" + uuid.uuid4().hex[:12]
        snapshot = self.store_tree(files or {})
        for spec in specs:
            spec["submission"] = submission
            spec["snapshot"] = snapshot
        stored = {
            "id": submission,
            "project": "test",
            "owner": "me",
            "created_at": time.time(),
            "controller": "c",
            "path_on_controller": "/",
            "jobs": list(specs),
            "digest": "0" * 64,
        }
        atomic.write_json(self.paths.submission(submission), stored)
        return [spec["id"] for spec in specs]

    def start_keeper(self, **env: str) -> subprocess.Popen[bytes]:
        """Start a keeper (a second one ends at once) and poke whichever lives."""
        keeper = subprocess.Popen(
            [AGENT_PYTHON, "-I", "-S", str(self.agent), "keeper", self.paths.root],
            env={"HOME": str(self.home), "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", **env},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.keepers.append(keeper)
        self.poke()
        return keeper

    def run_agent(self, *role: str) -> None:
        """Run one of the agent's roles to its end."""
        env = {"HOME": str(self.home), "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
        subprocess.run([AGENT_PYTHON, "-I", "-S", str(self.agent), *role], env=env, timeout=60, check=True)

    def poke(self) -> None:
        """Make the keeper look at once, if there is one."""
        with contextlib.suppress(OSError):
            fifo = os.open(self.paths.keeper_poke, os.O_WRONLY | os.O_NONBLOCK)
            os.write(fifo, b"\n")
            os.close(fifo)

    def submit(self, *specs: JobSpec, files: dict[str, str] | None = None) -> list[str]:
        """Store jobs and see to it that a keeper lives."""
        ids = self.store(*specs, files=files)
        self.start_keeper()
        return ids

    def cancel(self, job: str) -> None:
        """Write cancel.json as serve does."""
        Path(self.paths.job(job).folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.create_json(self.paths.job(job).cancel, {"at": time.time(), "by": "test"})
        self.poke()

    def attempt(self, job: str, number: int = 1) -> AttemptPaths:
        """Return the paths of one attempt."""
        return self.paths.attempt(job, number)

    def started(self, job: str, number: int = 1) -> dict[str, Any]:
        """Wait for start.json."""
        path = self.attempt(job, number).start
        return wait_until(lambda: atomic.read_json(path) or {}, 20, path)

    def ended(self, job: str, number: int = 1, timeout: float = 30) -> dict[str, Any]:
        """Wait for end.json."""
        path = self.attempt(job, number).end
        return wait_until(lambda: atomic.read_json(path) or {}, timeout, path)

    def log(self, job: str, number: int = 1) -> str:
        """Return the log now."""
        path = Path(self.attempt(job, number).log)
        return path.read_text(errors="replace") if path.exists() else ""

    def printed(self, job: str, text: str, number: int = 1) -> None:
        """Wait until the log holds some text."""
        wait_until(lambda: text in self.log(job, number), 20, f"{text!r} in {job}'s log")

    def waiting(self) -> dict[str, Any]:
        """Return waiting.json."""
        return atomic.read_json(self.paths.waiting) or {}

    def trouble(self) -> str:
        """Return the keeper's log, for a failing test."""
        path = Path(self.paths.keeper_log)
        return path.read_text()[-3000:] if path.exists() else "no keeper log"

    def supervisor_of(self, job: str) -> int:
        """Return the pid of a job's supervisor."""
        return wait_until(lambda: next(iter(_with_arguments("supervise", self.paths.root, job)), 0), 10, "supervisor")

    def strays(self) -> list[str]:
        """Return the command lines of processes that belong to this spool in any way."""
        root = self.paths.root.encode()
        found = []
        for pid in living():
            line, environ = _read(pid, "cmdline"), _read(pid, "environ")
            marked = MARKER_NAME.encode() in environ and str(self.home).encode() in environ
            if pid != os.getpid() and (root in line or marked):
                found.append(f"{pid} {line.replace(bytes(1), b' ').decode(errors='replace')}")
        return found

    def idle(self) -> None:
        """Wait until every keeper has ended by itself."""
        for keeper in self.keepers:
            keeper.wait(30)
        wait_until(lambda: not self.strays(), 20, f"strays: {self.strays()}")

    def close(self) -> None:
        """End what is left, by pid."""
        for keeper in self.keepers:
            if keeper.poll() is None:
                keeper.send_signal(signal.SIGKILL)
            keeper.wait()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            left = [int(each.split()[0]) for each in self.strays()]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _with_arguments(*words: str) -> list[int]:
    wanted = [word.encode() for word in words]
    return [pid for pid in living() if all(word in _read(pid, "cmdline").split(b"\0") for word in wanted)]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def pid_lives(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    return pid in living()


def read_pid(path: Path) -> int:
    """Wait for a file that holds a pid."""
    text = wait_until(lambda: path.read_text().strip() if path.exists() else "", 20, str(path))
    return int(json.loads(text))
