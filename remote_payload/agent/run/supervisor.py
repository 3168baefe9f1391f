"""`supervise`: the parent of one attempt. It outlives serve and keeper, and its lock on the attempt is its life."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine import compat
from remote_payload.agent.machine.cgroup import oom_kills
from remote_payload.agent.machine.identity import boot_identity
from remote_payload.agent.run import envbuild, jobenv, launch
from remote_payload.agent.run.attempt import Attempt, Finished, Limits, Log, Wake, status_of
from remote_payload.agent.run.endfile import EndFile, is_disk_full
from remote_payload.agent.run.ending import TAIL_BYTES, Ending, Outcome, conclude
from remote_payload.agent.run.environments import Resolved, resolve_python
from remote_payload.agent.run.needs import link_needed
from remote_payload.agent.run.processes import Traces, read_process
from remote_payload.agent.run.sessions import Sessions
from remote_payload.agent.spool import atomic, keeper_start, secrets, submissions, workdir
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import JobSpec

MAX_LOG = 2 * 1024**3
"""Bytes; an attempt whose log grows beyond is ended before it fills the disk."""

NO_GPUS = "-"


class LeasedGpu(NamedTuple):
    """A GPU of this attempt: what holds its locks, its number (nvidia-smi's index), its uuid, its hundredths."""

    descriptors: Tuple[int, ...]
    number: int
    uuid: str
    share: int


class Order(NamedTuple):
    """What the keeper asks for on the command line."""

    root: str
    job: str
    number: int
    lock: int
    gpus: Tuple[LeasedGpu, ...]

    def argv(self) -> List[str]:
        """Return the arguments of `supervise` that mean this order."""
        gpus = ",".join(_gpu_word(gpu) for gpu in self.gpus) or NO_GPUS
        return [self.root, self.job, str(self.number), str(self.lock), gpus]

    def descriptors(self) -> List[int]:
        """Return the descriptors that hold its locks."""
        return [self.lock, *(each for gpu in self.gpus for each in gpu.descriptors)]

    @staticmethod
    def parse(argv: List[str]) -> "Order":
        """Read the arguments of `supervise`.

        Raises:
            ValueError: they are not what a keeper writes.
        """
        root, job, number, lock, gpus = argv
        leased: List[LeasedGpu] = []
        for word in [] if gpus == NO_GPUS else gpus.split(","):
            descriptors, index, share, name = word.split(":", 3)
            held = tuple(int(each) for each in descriptors.split("+"))
            leased.append(LeasedGpu(held, int(index), name, int(share)))
        return Order(root, job, int(number), int(lock), tuple(leased))


def _gpu_word(gpu: LeasedGpu) -> str:
    descriptors = "+".join(str(each) for each in gpu.descriptors)
    return "{}:{}:{}:{}".format(descriptors, gpu.number, gpu.share, gpu.uuid)


def main(argv: List[str]) -> int:
    """Run one attempt to its end.

    Args:
        argv: spool root, job id, attempt number, descriptor of the locked attempt lock, and the GPUs as a comma list of
            descriptors:index:hundredths:uuid (descriptors joined by "+"), or "-".

    Returns:
        0 once end.json is durable.
    """
    order = Order.parse(argv)
    for descriptor in order.descriptors():
        os.set_inheritable(descriptor, False)
    os.chdir("/")
    compat.become_subreaper()
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        # Handled, not ignored: a program that is started gets handled signals back as they were.
        signal.signal(signum, _nothing)
    wake = Wake()
    supervision = Supervision(order)
    crash("supervise.begun")
    supervision.run(wake)
    # Where no keeper comes up, the next serve starts one; this attempt's end is on the disk already. A spool that was
    # removed is not made anew.
    if os.path.isdir(supervision.paths.submits):
        with contextlib.suppress(AgentFault, OSError):
            keeper_start.start_keeper(supervision.paths)
    return 0


class Supervision:
    """One attempt: prepared, launched, waited for, ended."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.paths = SpoolPaths(order.root)
        self._place = self.paths.attempt(order.job, order.number)
        self._end = EndFile(self._place.end)
        self._spec: JobSpec = submissions.load_job(self.paths, order.job)
        self._marker = uuid.uuid4().hex
        self._sessions = Sessions(self._place.sessions)
        self._ran = False
        self._kills: Optional[int] = None

    def run(self, wake: Wake) -> None:
        """Bring the attempt to its end, write end.json, and let go of every lock."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        log = Log(os.open(self._place.log, flags, 0o600))
        ending = self._attempt(log, wake)
        crash("supervise.over")
        log.sync()
        crash("supervise.synced")
        os.close(log.descriptor)
        record = {**ending._asdict(), "ended_at": time.time(), "started": self._ran}
        # The folder may be gone with the whole spool; then nobody asks for this end any more.
        with contextlib.suppress(FileNotFoundError):
            self._end.write(record)
        crash("supervise.ended")
        submissions.forget_secrets_if_final(self.paths, self._spec)
        for descriptor in reversed(self.order.descriptors()):
            os.close(descriptor)

    def _attempt(self, log: Log, wake: Wake) -> Ending:
        try:
            self._end.reserve()
            crash("supervise.reserved")
            atomic.write_json(self._place.lease, self._lease())
            crash("supervise.leased")
            command, record = self._prepare()
            crash("supervise.prepared")
            if self._asked_to_stop() is not None:
                return Ending("cancelled_by_user", None, None, "before it started")
            # The job holds the locks of its GPUs as well: nobody takes them while it runs and this process was killed.
            started = launch.spawn(
                command, log.descriptor, [each for gpu in self.order.gpus for each in gpu.descriptors]
            )
        except AgentFault as fault:
            reason = "environment_missing" if isinstance(fault, _NoPython) else "spawn_failed"
            log.say("{}; {}".format(fault.message, fault.hint) if fault.hint else fault.message)
            return Ending(reason, None, None, fault.message)
        except OSError as error:
            log.say("it could not be started: {}".format(error))
            return Ending("disk_full" if is_disk_full(error) else "spawn_failed", None, None, str(error))
        return self._follow(started, record, log, wake)

    def _follow(self, started: launch.Started, record: Dict[str, Any], log: Log, wake: Wake) -> Ending:
        crash("supervise.spawned")
        leader = started.process.pid
        process = read_process(leader)
        ticks = process.start if process is not None else 0
        status = os.fstat(log.descriptor)
        traces = Traces(
            parents=frozenset({os.getpid()}),
            sessions={leader: ticks},
            marker=self._marker,
            log=(status.st_dev, status.st_ino),
        )
        attempt = Attempt(leader, traces, self._limits(), log, lambda: self._stop_words(log))
        try:
            atomic.write_json(self._place.start, {**self._start(leader, ticks), "environment": record})
        except OSError as error:
            started.refuse()
            attempt.wait(wake)
            return Ending("disk_full" if is_disk_full(error) else "spawn_failed", None, None, str(error))
        crash("supervise.started")
        # After start.json stands and before anything of the user's runs: whoever cancels writes first and looks second,
        # so one of the two always sees the other.
        if self._asked_to_stop() is not None:
            started.refuse()
            attempt.wait(wake)
            return Ending("cancelled_by_user", None, None, "before it started")
        self._ran = True
        self._kills = oom_kills()
        started.release()
        crash("supervise.released")
        return self._conclude(attempt.wait(wake), log)

    def _conclude(self, finished: Finished, log: Log) -> Ending:
        known = status_of(finished.status)
        now = oom_kills()
        killed = None if now is None or self._kills is None else now > self._kills
        return conclude(Outcome(known["exit_code"], known["signal"], finished.stopped, log.tail(TAIL_BYTES), killed))

    def _prepare(self) -> Tuple[launch.Command, Dict[str, Any]]:
        place = self.paths.job(self.order.job)
        workdir.extract(self.paths, self._spec["snapshot"], place.workdir, place.workdir_index)
        os.makedirs(place.outputs, mode=0o700, exist_ok=True)
        profile = atomic.read_json(self.paths.profile) or {}
        found = self._python(profile)
        launch.write_script(self._place.script, self._spec["run"])
        env = jobenv.job_environment(
            jobenv.base_environment(profile, os.environ),
            self._spec,
            jobenv.AttemptPlace(
                self.order.number,
                place.outputs,
                [gpu.number for gpu in self.order.gpus],
                self._marker,
                link_needed(self.paths, self._spec),
            ),
            secrets.read(self.paths, self._spec),
        )
        command = launch.Command(
            python=found,
            folder=os.path.normpath(os.path.join(place.workdir, self._spec["dir"])),
            script=self._place.script,
            env=env,
            first=launch.python_folders(found, self.paths.shims),
        )
        return command, launch.environment_record(found)

    def _python(self, profile: Dict[str, Any]) -> Resolved:
        try:
            if self._spec["setup"] is None:
                return resolve_python(self._spec["python"], profile.get("conda_roots") or ())
            record = atomic.read_json(self.paths.job(self.order.job).env) or {}
            return envbuild.ready_python(self.paths, str(record.get("digest", "")))
        except AgentFault as fault:
            raise _NoPython(fault.code, fault.message, fault.hint) from fault

    def _limits(self) -> Limits:
        silence = self._spec.get("no_output")
        return Limits(self._spec["timeout"], float(self._spec["grace"]), float(silence) if silence else None)

    def _lease(self) -> Dict[str, Any]:
        gpus = [{"index": gpu.number, "uuid": gpu.uuid, "share": gpu.share} for gpu in self.order.gpus]
        return {"gpus": gpus, "at": time.time()}

    def _start(self, leader: int, ticks: int) -> Dict[str, Any]:
        return {
            "pid": leader,
            "sid": leader,
            "start_ticks": ticks,
            "started_at": time.time(),
            "boot": boot_identity(),
            "host_id": (atomic.read_json(self.paths.host) or {}).get("host_id"),
            "marker": self._marker,
            "gpus": [gpu.number for gpu in self.order.gpus],
        }

    def _stop_words(self, log: Log) -> Optional[str]:
        self._sessions.look(time.monotonic())
        if os.fstat(log.descriptor).st_size > MAX_LOG:
            return "log"
        return self._asked_to_stop()

    def _asked_to_stop(self) -> Optional[str]:
        try:
            if os.stat(self._place.lock).st_ino != os.fstat(self.order.lock).st_ino:
                return "gone"
        except FileNotFoundError:
            return "gone"
        if os.path.exists(self.paths.job(self.order.job).cancel) and submissions.is_cancelled(
            self.paths, self.order.job
        ):
            return "cancel"
        return None


class _NoPython(AgentFault):
    """The job's Python is not there; every other fault before the start means that it could not be started."""


def _nothing(signum: int, frame: Any) -> None:
    """Takes a signal without dying of it."""
