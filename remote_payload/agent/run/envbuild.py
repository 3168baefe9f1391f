"""`build-env`: runs a job's setup once per environment digest, before any GPU is held, and records what came of it.

Only ready.json or failed.json, each renamed into place at the very end, makes an environment finished: whatever a
killed builder leaves is built over by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine import compat
from remote_payload.agent.run import jobenv, launch
from remote_payload.agent.run.attempt import Attempt, Limits, Log, Wake, status_of
from remote_payload.agent.run.clear import Clearing
from remote_payload.agent.run.ending import TAIL_BYTES, last_line, signal_name
from remote_payload.agent.run.environments import Resolved
from remote_payload.agent.run.processes import Traces, read_process
from remote_payload.agent.spool import atomic, keeper_start, workdir
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import JobSpec, Manifest

TOOL_POLL = 0.2
"""Seconds between looks at whether the making of a venv is still wanted."""
STOP_GRACE = 5.0
"""Seconds from TERM to KILL for a setup nobody wants any more."""

_PIP_SHIM = '#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n'


def env_digest(spec: JobSpec, found: Resolved, blobs: Mapping[str, str]) -> str:
    """Return what names the environment a job's setup makes. Pure.

    Args:
        spec: a job with `setup`.
        found: its Python on this host.
        blobs: snapshot path -> SHA-256, of the files named in `setup.files` at least.
    """
    setup = spec["setup"] or {"run": "", "files": []}
    parts = {
        "run": setup["run"],
        "files": {path: blobs.get(path, "") for path in setup["files"]},
        "dir": spec["dir"],
        "python": spec["python"],
        "prefix": found.prefix,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def blobs_of(manifest: Manifest) -> Dict[str, str]:
    """Return path -> SHA-256 of a manifest's files. Pure."""
    return {entry["p"]: entry["h"] for entry in manifest["entries"] if entry.get("t") == "f"}


def request_of(spec: JobSpec, found: Resolved) -> Dict[str, Any]:
    """Return request.json, which the keeper writes before it starts the builder. Pure."""
    setup = spec["setup"] or {"run": "", "files": []}
    return {
        "run": setup["run"],
        "dir": spec["dir"],
        "snapshot": spec["snapshot"],
        "resolved": found._asdict(),
        "at": time.time(),
    }


def wants_own_venv(found: Resolved) -> bool:
    """Tell whether packages cannot go into a Python that nobody named, so that it gets a venv on top. Pure."""
    return found.kind == "system" and (found.externally_managed or not found.writable)


def ready_python(paths: SpoolPaths, digest: str) -> Resolved:
    """Return the Python of a finished environment.

    Raises:
        AgentFault: not_found, when it is not (or no longer) finished.
    """
    ready = atomic.read_json(paths.env(digest).ready)
    if ready is None:
        raise AgentFault("not_found", "the environment made by its setup is gone", "retry the job: setup runs again")
    return Resolved(**ready["resolved"])


def main(argv: List[str]) -> int:
    """Build one environment, unless somebody else does.

    Args:
        argv: spool root and environment digest.

    Returns:
        0, whatever the setup said: that stands in ready.json or failed.json.
    """
    root, digest = argv
    os.chdir("/")
    os.umask(0o077)
    compat.become_subreaper()
    paths = SpoolPaths(root)
    lock = os.open(paths.env(digest).building, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode("ascii"))
    builder = Builder(paths, digest)
    builder.run(Wake())
    os.close(lock)
    with contextlib.suppress(AgentFault, OSError):
        keeper_start.start_keeper(paths)
    return 0


class Builder:
    """One run of one setup."""

    def __init__(self, paths: SpoolPaths, digest: str) -> None:
        self._paths = paths
        self._place = paths.env(digest)
        # Of this spool: the same setup may run for another one on this very machine.
        self._marker = "setup-{}-{}".format(digest, hashlib.sha256(os.fsencode(paths.root)).hexdigest()[:12])
        self._tree = os.path.join(paths.tmp, "setup-" + digest)
        self._unwanted = False
        signal.signal(signal.SIGTERM, self._stop)

    def run(self, wake: Wake) -> None:
        """Build, and write ready.json or failed.json; neither when it was told to stop."""
        if os.path.exists(self._place.ready):
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place.failed)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        log = Log(os.open(self._place.log, flags, 0o600))
        try:
            self._end_leftovers(log, wake)
            request = atomic.read_json(self._place.request) or {}
            failure = self._build(request, log, wake)
        except (AgentFault, OSError) as error:
            log.say(str(error))
            failure = {"detail": str(error), "exit_code": None, "signal": None}
        finally:
            shutil.rmtree(self._tree, ignore_errors=True)
        log.sync()
        os.close(log.descriptor)
        if failure is not None and not self._unwanted:
            atomic.write_json(self._place.failed, {**failure, "at": time.time()})

    def _build(self, request: Dict[str, Any], log: Log, wake: Wake) -> Optional[Dict[str, Any]]:
        """Return None when ready.json stands, else what failed.json shall say."""
        found = Resolved(**request["resolved"])
        profile = atomic.read_json(self._paths.profile) or {}
        env = jobenv.setup_environment(jobenv.base_environment(profile, os.environ), self._marker)
        if wants_own_venv(found):
            made = self._make_venv(found, env, log)
            if made is None:
                return {"detail": last_line(log.tail(TAIL_BYTES)), "exit_code": None, "signal": None}
            found = made
        workdir.extract_tree(self._paths, request["snapshot"], self._tree)
        script = os.path.join(self._place.folder, "script")
        launch.write_script(script, request["run"])
        folder = os.path.normpath(os.path.join(self._tree, request["dir"]))
        first = launch.python_folders(found, self._paths.shims)
        ended = self._run(launch.Command(found, folder, script, env, first), log, wake)
        if ended["exit_code"] == 0:
            atomic.write_json(self._place.ready, {"resolved": found._asdict(), "at": time.time()})
            return None
        tail = last_line(log.tail(TAIL_BYTES))
        by = "exit code {}".format(ended["exit_code"]) if ended["signal"] is None else signal_name(ended["signal"])
        return {"detail": tail or "it ended with " + by, **ended}

    def _run(self, command: launch.Command, log: Log, wake: Wake) -> Dict[str, Optional[int]]:
        started = launch.spawn(command, log.descriptor)
        leader = started.process.pid
        process = read_process(leader)
        traces = self._traces(log)._replace(
            parents=frozenset({os.getpid()}), sessions={leader: process.start if process is not None else 0}
        )
        started.release()
        attempt = Attempt(leader, traces, Limits(None, STOP_GRACE), log, lambda: "cancel" if self._unwanted else None)
        return status_of(attempt.wait(wake).status)

    def _make_venv(self, found: Resolved, env: Mapping[str, str], log: Log) -> Optional[Resolved]:
        prefix = self._place.venv
        log.say("{} cannot be installed into: making a venv on top of it".format(found.python))
        base = [found.python, "-m", "venv", "--system-site-packages"]
        shutil.rmtree(prefix, ignore_errors=True)
        if self._tool([*base, prefix], env, log) != 0:
            if self._unwanted:
                return None
            log.say("the venv could not be made with pip in it (ensurepip is missing?): making it without")
            shutil.rmtree(prefix, ignore_errors=True)
            if self._tool([*base, "--without-pip", prefix], env, log) != 0:
                return None
            self._add_pip(prefix, env, log)
        python = os.path.join(prefix, "bin", "python")
        return Resolved("venv", prefix, python, found.version, "", "", True, False)

    def _add_pip(self, prefix: str, env: Mapping[str, str], log: Log) -> None:
        """The system's pip installs into a venv when the venv's Python runs it; give it the usual name."""
        if self._tool([os.path.join(prefix, "bin", "python"), "-m", "pip", "--version"], env, log) == 0:
            path = os.path.join(prefix, "bin", "pip")
            with open(path, "w", encoding="ascii") as stream:
                stream.write(_PIP_SHIM)
            os.chmod(path, 0o755)

    def _tool(self, argv: List[str], env: Mapping[str, str], log: Log) -> int:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log.descriptor, stderr=log.descriptor, env=dict(env), cwd="/",
            start_new_session=True,
        )  # fmt: skip
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(TOOL_POLL)
            if self._unwanted:
                # What it made so far is thrown away, so nothing is lost by not asking first.
                os.killpg(process.pid, signal.SIGKILL)

    def _end_leftovers(self, log: Log, wake: Wake) -> None:
        """End what a builder that was killed has left running: two setups at once would spoil each other."""
        clearing = Clearing(lambda: self._traces(log), STOP_GRACE)
        while not clearing.step(time.monotonic()):
            wake.wait(0.02)

    def _traces(self, log: Log) -> Traces:
        status = os.fstat(log.descriptor)
        return Traces(marker=self._marker, log=(status.st_dev, status.st_ino))

    def _stop(self, signum: int, frame: Any) -> None:
        self._unwanted = True


def builder_pid(building: str) -> Optional[int]:
    """Return the pid of the builder that holds a `building` lock now, or None when nobody does."""
    try:
        descriptor = os.open(building, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        text = os.read(descriptor, 32)
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)


def outcome(paths: SpoolPaths, digest: str) -> Tuple[Optional[Dict[str, Any]], Optional[Dict[str, Any]]]:
    """Return (ready.json, failed.json) of an environment; each None when it is not there."""
    place = paths.env(digest)
    return atomic.read_json(place.ready), atomic.read_json(place.failed)
