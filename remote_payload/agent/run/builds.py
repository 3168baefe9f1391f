"""The keeper's side of setups: which environment a job needs, whether it is there, and who builds it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Dict, NamedTuple, Optional, Sequence, Set, Tuple, Union

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.run import envbuild
from remote_payload.agent.run.claim import Spawner
from remote_payload.agent.run.ending import Ending
from remote_payload.agent.run.environments import Resolved, resolve_python
from remote_payload.agent.run.processes import read_process, send
from remote_payload.agent.run.scheduler import Waiting
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import JobSpec

MAX_DEATHS = 3
"""Builders of one digest that may vanish without a result before the setup counts as failed."""

RESOLVED_SECONDS = 60.0


class Broken(NamedTuple):
    """The job cannot get its environment: how its attempt ends, and the setup's log."""

    ending: Ending
    log: Optional[str]


class Builds:
    """Environments of the jobs that have a setup.

    Args:
        paths: of the spool.
        spawner: starts builders.

    Attributes:
        conda_roots: the profile's.
    """

    def __init__(self, paths: SpoolPaths, spawner: Spawner) -> None:
        self._paths = paths
        self._spawner = spawner
        self.conda_roots: Sequence[str] = ()
        self._resolved: Dict[str, Tuple[float, Resolved]] = {}
        self._digests: Dict[str, str] = {}
        self._starts: Dict[str, int] = {}
        self._pids: Dict[str, int] = {}
        self._wanted: Set[str] = set()
        self._seen: Set[str] = set()
        self._waited: Dict[Tuple[str, str, float], Optional[float]] = {}

    def look(self, spec: JobSpec, since: float) -> Union[Waiting, Broken, None]:
        """Say how far a job's environment is, and start its builder where none runs.

        Args:
            spec: a pending job with `setup`.
            since: when it was asked for (stored, or retried last), seconds since the epoch by this host's clock. A
                failure older than that is not believed: the setup is run again.

        Returns:
            None when the environment is there, else what the job waits for or how it ends.

        Raises:
            OSError: the builder cannot be started now.
        """
        try:
            digest = self._digest(spec)
        except AgentFault as fault:
            return Broken(Ending("environment_missing", None, None, _words(fault)), None)
        self._wanted.add(digest)
        place = self._paths.env(digest)
        # First who builds, then what came of it: a builder that ends in between has written its result.
        running = self._pids.get(digest) in self._spawner.children or envbuild.builder_pid(place.building) is not None
        ready, failed = envbuild.outcome(self._paths, digest)
        if ready is not None:
            return None
        asked = (digest, spec["id"], since)
        at = None if failed is None else float(failed.get("at", 0.0))
        # By the clock; or, as it may have been set back, because it came while the job was seen waiting.
        new = asked in self._waited and self._waited[asked] != at
        if failed is not None and at is not None and (at >= since or (new and not running)):
            self._waited.pop(asked, None)
            detail = str(failed.get("detail", ""))
            return Broken(Ending("setup_failed", failed.get("exit_code"), failed.get("signal"), detail), place.log)
        if failed is not None:
            self._starts.pop(digest, None)
        if not running:
            self._start(spec, digest)
        self._waited.setdefault(asked, at)
        return Waiting("env_building")

    def end_unwanted(self) -> None:
        """Stop builders that no pending job waits for any more. To be called once a tick, after every `look`."""
        for digest in self._seen - self._wanted:
            pid = envbuild.builder_pid(self._paths.env(digest).building)
            process = read_process(pid) if pid else None
            if process is not None:
                send(process, signal.SIGTERM)
            else:
                self._seen.discard(digest)
        self._seen |= self._wanted
        self._wanted = set()

    def _start(self, spec: JobSpec, digest: str) -> None:
        place = self._paths.env(digest)
        os.makedirs(place.folder, mode=0o700, exist_ok=True)
        if self._starts.get(digest, 0) >= MAX_DEATHS:
            self._starts.pop(digest)
            words = "the setup was killed {} times before it ended".format(MAX_DEATHS)
            atomic.write_json(place.failed, {"detail": words, "exit_code": None, "signal": None, "at": time.time()})
            return
        self._starts[digest] = self._starts.get(digest, 0) + 1
        atomic.write_json(place.request, envbuild.request_of(spec, self._python(spec)))
        self._pids[digest] = self._spawner.build(digest)

    def _digest(self, spec: JobSpec) -> str:
        known = self._digests.get(spec["id"])
        if known is not None:
            return known
        manifest: Any = atomic.read_json(self._paths.snapshot(spec["snapshot"])) or {"entries": []}
        digest = envbuild.env_digest(spec, self._python(spec), envbuild.blobs_of(manifest))
        place = self._paths.job(spec["id"])
        atomic.make_folder(place.folder)
        atomic.write_json(place.env, {"digest": digest})
        self._digests[spec["id"]] = digest
        return digest

    def _python(self, spec: JobSpec) -> Resolved:
        key = repr(sorted(spec["python"].items()))
        at, found = self._resolved.get(key, (float("-inf"), None))
        if found is None or time.monotonic() - at > RESOLVED_SECONDS:
            found = resolve_python(spec["python"], self.conda_roots)
            self._resolved[key] = (time.monotonic(), found)
        return found


def _words(fault: AgentFault) -> str:
    return "{}; {}".format(fault.message, fault.hint) if fault.hint else fault.message
