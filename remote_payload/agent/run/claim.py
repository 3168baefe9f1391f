"""Claiming an attempt and starting its supervisor; the folder is the claim, the lock is the supervisor's life."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional, Sequence, Set

from remote_payload.agent.crash import crash
from remote_payload.agent.run import gpulock, jobenv
from remote_payload.agent.run.endfile import EndFile
from remote_payload.agent.run.ending import Ending
from remote_payload.agent.run.scheduler import WHOLE, Launch
from remote_payload.agent.run.supervisor import LeasedGpu, Order
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.spool.place import agent_dir
from remote_payload.agent.wire.messages import GpuView

LOCK_TRIES = 50
LOCK_PAUSE = 0.02
SETUP_LOG_BYTES = 64 * 1024


class Spawner:
    """Starts the agent's other processes, detached, and remembers their pids.

    Args:
        paths: of the spool.
        stderr: where their tracebacks go, the keeper's log.
    """

    def __init__(self, paths: SpoolPaths, stderr: int) -> None:
        self.paths = paths
        self.children: Set[int] = set()
        self._stderr = stderr

    def supervise(self, job: str, number: int, lock: int, gpus: Sequence[LeasedGpu]) -> int:
        """Start `supervise`, which inherits the locks. Returns its pid. Raises OSError."""
        order = Order(self.paths.root, job, number, lock, tuple(gpus))
        return self._start(["supervise", *order.argv()], order.descriptors())

    def build(self, digest: str) -> int:
        """Start `build-env`. Returns its pid. Raises OSError."""
        return self._start(["build-env", self.paths.root, digest], [])

    def standby(self) -> int:
        """Start `standby`, which becomes the keeper when this one is killed. Returns its pid. Raises OSError."""
        return self._start(["standby", self.paths.root], [])

    def _start(self, role: List[str], descriptors: List[int]) -> int:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", agent_dir(), *role],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            env=jobenv.agent_environment(os.environ),
            cwd="/",
            pass_fds=descriptors,
            start_new_session=True,
        )
        # The keeper collects every child itself; Popen must not wait for this one when it is forgotten.
        process.returncode = 0
        self.children.add(process.pid)
        return process.pid


def lock_attempt(path: str, tries: int = LOCK_TRIES) -> Optional[int]:
    """Lock an attempt's `lock`.

    Tried more than once because serve looks at it with a shared lock, for microseconds.

    Returns:
        A descriptor, or None when its supervisor lives.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for left in range(tries - 1, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if left:
                time.sleep(LOCK_PAUSE)
    os.close(descriptor)
    return None


def take_gpus(gpus: Sequence[GpuView], share: int, spool: str) -> Optional[List[LeasedGpu]]:
    """Lock all of some GPUs, or none of them (None) when another user was quicker.

    Args:
        share: hundredths of each.
        spool: from gpulock.spool_key.
    """
    taken: List[LeasedGpu] = []
    for gpu in gpus:
        held = gpulock.take(gpu["uuid"]) if share == WHOLE else gpulock.take_part(gpu["uuid"], spool)
        if held is None:
            release_gpus(taken)
            return None
        taken.append(LeasedGpu(held, gpu["index"], gpu["uuid"], share))
    return taken


def release_gpus(gpus: Sequence[LeasedGpu]) -> None:
    """Close this process's copies of the GPU locks."""
    for gpu in gpus:
        for descriptor in gpu.descriptors:
            os.close(descriptor)


def launch(spawner: Spawner, start: Launch, number: int) -> bool:
    """Claim an attempt and start its supervisor.

    Args:
        start: the job and its GPUs.
        number: the attempt's.

    Returns:
        False when a GPU or the attempt is somebody else's after all; nothing has begun then.

    Raises:
        OSError: the folder cannot be made, or no process started.
    """
    leased = take_gpus(start.gpus, start.share, gpulock.spool_key(spawner.paths.root))
    if leased is None:
        return False
    crash("claim.gpus")
    lock: Optional[int] = None
    try:
        lock = _claim(spawner.paths, start.job, number)
        # An end without a start: the job was moved to another host since it was looked at.
        if lock is None or os.path.exists(spawner.paths.attempt(start.job, number).end):
            return False
        crash("claim.locked")
        spawner.supervise(start.job, number, lock, leased)
        crash("claim.spawned")
        return True
    finally:
        release_gpus(leased)
        if lock is not None:
            os.close(lock)


def end_unstarted(paths: SpoolPaths, job: str, number: int, ending: Ending, setup_log: Optional[str] = None) -> bool:
    """Claim an attempt that ends at once, and write its end.

    Args:
        paths: of the spool.
        job: its id.
        number: the attempt's.
        ending: why.
        setup_log: a log whose last 64 KB become the attempt's log.

    Returns:
        False when its lock is held after all.

    Raises:
        OSError: the disk is full; to be tried again.
    """
    lock = _claim(paths, job, number)
    if lock is None:
        return False
    try:
        place = paths.attempt(job, number)
        _write_log(place.log, _tail(setup_log) if setup_log else "[orch] {}\n".format(ending.detail).encode())
        crash("claim.unstarted")
        EndFile(place.end).write_now(end_record(ending, started=False))
        return True
    finally:
        os.close(lock)


def end_record(ending: Ending, started: bool) -> Dict[str, Any]:
    """Return end.json. started: whether anything of the user's ran."""
    return {**ending._asdict(), "ended_at": time.time(), "started": started}


def _claim(paths: SpoolPaths, job: str, number: int) -> Optional[int]:
    place = paths.attempt(job, number)
    os.makedirs(place.folder, mode=0o700, exist_ok=True)
    crash("claim.folder")
    return lock_attempt(place.lock)


def _tail(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - SETUP_LOG_BYTES))
        return stream.read(SETUP_LOG_BYTES)
    return b""


def _write_log(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
