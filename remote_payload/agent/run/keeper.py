"""`keeper`: the one resident process of a host while there is work. It claims, starts and cleans up.

It decides nothing that the spool does not say, so that it may be killed at any moment and the next one goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from typing import Any, Dict, List, Optional, Set, Union

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine import compat
from remote_payload.agent.machine.cgroup import cpu_quota
from remote_payload.agent.machine.identity import boot_identity, host_id
from remote_payload.agent.run import claim, gpulock, jobenv
from remote_payload.agent.run.attempt import Wake
from remote_payload.agent.run.builds import Broken, Builds
from remote_payload.agent.run.ending import Ending
from remote_payload.agent.run.gpus import GpuWatch
from remote_payload.agent.run.keeperlog import KeeperLog
from remote_payload.agent.run.needs import Needs, Unmet
from remote_payload.agent.run.orphans import Here, Orphans
from remote_payload.agent.run.processes import MARKER_NAME, descendants, living, read_process, reap
from remote_payload.agent.run.queue import Queue, Work
from remote_payload.agent.run.sampler import Sampler
from remote_payload.agent.run.scheduler import Candidate, Capacity, Launch, Plan, Waiting, pick
from remote_payload.agent.run.tally import Failures, Tally, only
from remote_payload.agent.spool import atomic, secrets, submissions
from remote_payload.agent.spool.hostroot import owner_of, require_own
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.spool.place import agent_dir
from remote_payload.agent.wire.protocol import GENERATION

TICK_SECONDS = 1.0
BUSY_TICK_SECONDS = 0.25
ASIDE_SECONDS = 60.0
HELD_SECONDS = 30.0
STANDBY_SECONDS = 1.0
"""A keeper that has lived so long gets a standby; one that was killed is replaced after as long."""
MAX_UNSTARTED = 3
"""Supervisors of one attempt that may vanish before they started anything, until the attempt ends."""

FEATURES = frozenset(
    {"setup", "secrets", "gpu_memory", "timeout"}
    | {"needs", "priority", "max_parallel", "max_failures", "retry", "no_output", "gpu_type", "gpu_share"}
)
"""What a spec's `requires` may name; a job that wants more waits for a newer keeper instead of running without it."""


def main(argv: List[str]) -> int:
    """Keep one spool until there is no work.

    Args:
        argv: the spool's root.

    Returns:
        0, also when another keeper has the spool already.
    """
    _shed_environment(argv)
    os.chdir("/")
    os.umask(0o077)
    paths = SpoolPaths(argv[0])
    os.makedirs(paths.keeper, mode=0o700, exist_ok=True)
    lock = os.open(paths.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if not _take(lock):
        return 0
    crash("keeper.locked")
    compat.become_subreaper()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(signum, _nothing)
    log = KeeperLog(paths.keeper_log)
    os.dup2(log.descriptor, 2)
    if not _is_this_hosts(paths, log):
        return 0
    log.say("keeper {} begins".format(os.getpid()))
    me = read_process(os.getpid())
    ticks = me.start if me else 0
    record = {"pid": os.getpid(), "start_ticks": ticks, "at": time.time(), "generation": GENERATION}
    atomic.write_json(paths.keeper_pid, record)
    crash("keeper.recorded")
    keeper = Keeper(paths, lock, log)
    signal.signal(signal.SIGTERM, keeper.leave)
    log.say("keeper {} ends: {}".format(os.getpid(), keeper.run(Wake())))
    return 0


class Keeper:
    """The loop. One tick looks at every unfinished job once."""

    def __init__(self, paths: SpoolPaths, lock: int, log: KeeperLog) -> None:
        self._paths = paths
        self._lock = lock
        self._log = log
        self._failures = Failures()
        self._queue = Queue(paths, log, self._failures.note)
        self._spawner = claim.Spawner(paths, log.descriptor)
        self._builds = Builds(paths, self._spawner)
        self._gpus = GpuWatch(gpulock.spool_key(paths.root))
        self._owner, self._host_mark = owner_of(paths), _inode(paths.host)
        self._orphans = Orphans(paths, Here(self._owner, boot_identity()), self._heirs)
        self._slots = max(1, int(cpu_quota()))
        self._needs = Needs(paths, self._queue.holds)
        self._sampler = Sampler(paths, self._gpus)
        self._allowed: Optional[Set[int]] = None
        self._most: Optional[int] = None
        self._given: Dict[str, Dict[str, int]] = {}
        self._unstarted: Dict[str, int] = {}
        self._aside: Dict[str, float] = {}
        self._told: Optional[Dict[str, Any]] = None
        self._again = False
        self._leaving = False
        self._standby = 0
        self._standby_due = time.monotonic() + STANDBY_SECONDS

    def leave(self, signum: int, frame: Any) -> None:
        """Handle SIGTERM: a newer agent takes over once this tick is done."""
        self._leaving = True

    def run(self, wake: Wake) -> str:
        """Tick until there is no work, or somebody takes over; returns why it ended."""
        poke = _open_poke(self._paths.keeper_poke)
        self._refresh(thorough=True)
        while True:
            if os.fstat(self._lock).st_ino != _inode(self._paths.keeper_lock):
                return "its spool was removed, or put in place anew"
            if self._was_given_away():
                return "the spool is another host's now"
            self._tick()
            crash("keeper.ticked")
            if self._leaving:
                self.end_standby()
                return "asked to leave"
            self._keep_standby()
            if not self._queue.any and not self._orphans.any and self._leave():
                return "no work"
            wake.wait(self._pause(), [poke])
            self._refresh(thorough=_drain(poke))

    def end_standby(self) -> None:
        """End the process that waits for this one's death."""
        if self._standby in self._spawner.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._standby, signal.SIGKILL)

    def _keep_standby(self) -> None:
        """See to it that one waits. Not at once: most queues of one short job are done before it would be there."""
        now = time.monotonic()
        if self._queue.any and self._standby not in self._spawner.children and now >= self._standby_due:
            self._standby_due = now + STANDBY_SECONDS
            with contextlib.suppress(OSError):  # no memory, too many processes: without it, then
                self._standby = self._spawner.standby()

    def _was_given_away(self) -> bool:
        """Whether another host that shares this folder adopted the spool while this keeper lived."""
        mark = _inode(self._paths.host)
        if mark == self._host_mark:
            return False
        self._host_mark = mark
        return owner_of(self._paths) != self._owner

    def _refresh(self, thorough: bool) -> None:
        if thorough:
            # `open` may have written another profile since. One that cannot be read changes nothing.
            with contextlib.suppress(AgentFault):
                profile: Dict[str, Any] = atomic.read_json(self._paths.profile) or {}
                self._builds.conda_roots = list(profile.get("conda_roots") or ())
                self._gpus.path = profile.get("path")
                numbers, most = profile.get("gpus"), profile.get("max_gpus")
                self._allowed = {int(each) for each in numbers} if isinstance(numbers, list) else None
                self._most = int(most) if isinstance(most, int) else None
        self._queue.refresh(thorough)

    def _pause(self) -> float:
        if self._again:
            return 0.0
        busy = self._orphans.any or self._gpus.freeing(time.monotonic())
        return BUSY_TICK_SECONDS if busy else TICK_SECONDS

    def _tick(self) -> None:
        self._again = False
        self._spawner.children -= set(reap())
        candidates: List[Candidate] = []
        tally = Tally()
        for work in self._queue.unfinished():
            try:
                if self._aside.get(work.id, 0.0) <= time.monotonic():
                    self._look(work, candidates)
            except Exception:  # one broken job must never stop the others
                self._set_aside(work.id)
            if work.live:
                tally.add(work, self._given.get(work.id))
        self._builds.end_unwanted()
        self._sampler.step(tally.held, time.monotonic())
        self._gpus.holds(tally.whole | set(tally.shared), time.monotonic())
        plan = self._pick(candidates, tally)
        for launch in plan.launches:
            self._launch(launch, plan)
        self._write_waiting(plan)

    def _look(self, work: Work, candidates: List[Candidate]) -> None:
        """Advance one unfinished job as far as it goes by itself; add it to the candidates if it may start."""
        work.look()
        if work.final:
            self._finish(work)
        elif work.orphaned or self._orphans.holds(work.id, work.attempt):
            self._adopt(work, candidates)
        elif work.pending:
            blocked = self._blocked(work)
            if isinstance(blocked, (Broken, Unmet)):
                log = blocked.log if isinstance(blocked, Broken) else None
                claim.end_unstarted(self._paths, work.id, work.next_attempt, blocked.ending, log)
                self._ended(work)
            else:
                candidates.append(work.candidate(blocked))

    def _adopt(self, work: Work, candidates: List[Candidate]) -> None:
        number, start = work.attempt, work.start
        if start is not None:
            if self._orphans.step(work.id, number, start):
                self._ended(work)
            return
        # Its supervisor vanished before it started anything: the same attempt begins again.
        if work.cancelled:
            ending = Ending("cancelled_by_user", None, None, "before it started")
        elif self._unstarted.get(work.id, 0) >= MAX_UNSTARTED:
            ending = Ending("spawn_failed", None, None, "its supervisor could not start; see keeper/log on the host")
        else:
            candidates.append(work.candidate(None))
            return
        if claim.end_unstarted(self._paths, work.id, number, ending):
            self._ended(work)

    def _blocked(self, work: Work) -> Union[Waiting, Broken, Unmet, None]:
        needed = self._needs.look(work.spec)
        if isinstance(needed, Unmet):
            return needed
        failed = self._failures.held(work)
        if failed:
            return Waiting("failures_held", "{} failed".format(failed))
        # What it needs does not keep its environment from being made ready meanwhile.
        return self._unprepared(work) or needed

    def _unprepared(self, work: Work) -> Union[Waiting, Broken, None]:
        spec = work.spec
        now = time.monotonic()
        # What a job waits for from outside comes with a poke, which forgets `held`; asking each second costs much.
        if work.held is not None and now < work.held_until:
            return work.held
        unknown = [name for name in spec["requires"] if name not in FEATURES]
        missing = secrets.missing(self._paths, spec)
        work.held = None
        if unknown:
            work.held = Waiting("needs_newer_keeper", ", ".join(unknown))
        elif missing:
            work.held = Waiting("secret_needed", ", ".join(missing))
        elif spec["setup"] is not None:
            return self._builds.look(spec, work.since)
        work.held_until = now + HELD_SECONDS
        return work.held

    def _pick(self, candidates: List[Candidate], tally: Tally) -> Plan:
        table = None
        leased = set(tally.whole)
        now = time.monotonic()
        if candidates and os.path.exists(self._paths.paused):
            candidates = [each._replace(blocked=each.blocked or Waiting("host_paused")) for each in candidates]
        if any(each.blocked is None and each.gpus != 0 for each in candidates):
            table = only(self._gpus.table(leased, now), self._allowed)
            leased |= self._gpus.taken()
            # Whose parts are not all known is full.
            leased |= set(tally.shared) if tally.unsure else set()
        spare = tally.spare(self._most)
        dirty = self._gpus.dirty(now)
        room = Capacity(table, leased, self._slots, tally.cpu, tally.shared, spare, tally.live, dirty)
        return pick(candidates, room, now)

    def _launch(self, launch: Launch, plan: Plan) -> None:
        work = self._queue.get(launch.job)
        try:
            if submissions.is_cancelled(self._paths, work.id):
                # While this tick looked at the others. Once claimed it would look as if it were about to start.
                self._ended(work)
                return
            begun = claim.launch(self._spawner, launch, work.next_attempt)
        except Exception:  # one broken job must never stop the others
            self._set_aside(work.id)
            return
        if begun:
            self._given[work.id] = {gpu["uuid"]: launch.share for gpu in launch.gpus}
            self._unstarted[work.id] = self._unstarted.get(work.id, 0) + 1 if work.orphaned else 1
            self._gpus.stir(time.monotonic())
            work.stale()
        else:
            plan.waiting[work.id] = Waiting("no_gpu", "another user of this host took it")

    def _ended(self, work: Work) -> None:
        """Look again at once: the end just written may make room."""
        self._gpus.stir(time.monotonic())
        self._again = True
        work.stale()

    def _finish(self, work: Work) -> None:
        secrets.remove(self._paths, work.id)
        self._failures.note(work.group, work.id, work.failed)
        self._queue.finish(work.id)
        self._given.pop(work.id, None)
        self._unstarted.pop(work.id, None)
        self._gpus.stir(time.monotonic())

    def _set_aside(self, job: str) -> None:
        self._log.trouble("{} is set aside for {:g} s".format(job, ASIDE_SECONDS))
        self._aside[job] = time.monotonic() + ASIDE_SECONDS

    def _heirs(self) -> Set[int]:
        processes = living()
        me = os.getpid()
        mine = {each.pid for each in processes.values() if each.parent == me}
        return (mine - self._spawner.children) & descendants(processes, [me])

    def _write_waiting(self, plan: Plan) -> None:
        told = {job: waiting._asdict() for job, waiting in plan.waiting.items()}
        if told == self._told:
            return
        with contextlib.suppress(OSError):  # a cache: a full disk must not stop the keeper
            atomic.write_json(self._paths.waiting, told)
            self._told = told

    def _leave(self) -> bool:
        """Let go of the lock, then look once more: who stored work meanwhile saw it held and started no keeper."""
        crash("keeper.leaving")
        self._queue.remember()
        self.end_standby()
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        crash("keeper.unlocked")
        self._queue.refresh(thorough=True)
        return not self._queue.any or not _take(self._lock)


def _shed_environment(argv: List[str]) -> None:
    """Start this very process again when it bears a job's marker (an `orch` that ran inside a job started it)."""
    if MARKER_NAME in os.environ:
        arguments = [sys.executable, "-I", "-S", agent_dir(), "keeper", *argv]
        os.execve(sys.executable, arguments, jobenv.agent_environment(os.environ))


def _is_this_hosts(paths: SpoolPaths, log: KeeperLog) -> bool:
    """Whether the spool is this host's: a shared or copied home brings those of others along."""
    try:
        require_own(paths, host_id((atomic.read_json(paths.profile) or {}).get("identity")))
    except AgentFault as fault:
        log.say("keeper {} ends: {}".format(os.getpid(), fault.message))
        return False
    return True


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _open_poke(path: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    # For writing too, so that it never reads as ended when the last poker closes it.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _drain(poke: int) -> bool:
    """Empty the FIFO; tell whether anybody poked."""
    poked = False
    with contextlib.suppress(BlockingIOError):
        while os.read(poke, 4096):
            poked = True
    return poked


def _inode(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _nothing(signum: int, frame: Any) -> None:
    """Takes a signal without dying of it."""
