"""Where the agent can be made to die, and what its clock says: for tests only, reached by environment variables.

`crash("name")` stands at every step of the spool's write path after which something half done lies on the disk. Without
ORCH_CRASH_POINT in the environment it does nothing. With `NAME` the first process that passes there is killed as by
`kill -9`; with `NAME:N:FILE` the one that is the N-th of all processes that share FILE, and no other. Several such
words are joined by ";".

ORCH_TEST_CLOCK names a file that holds seconds; the agent's clock is ahead of the host's by so many (behind, if less
than 0). Keeper and supervisors inherit both variables, jobs never do.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Dict, Mapping, NamedTuple, Optional, Tuple

POINTS_VARIABLE = "ORCH_CRASH_POINT"
CLOCK_VARIABLE = "ORCH_TEST_CLOCK"
VARIABLES = (POINTS_VARIABLE, CLOCK_VARIABLE)


class Point(NamedTuple):
    """A crash point. file: the one source that calls it, below the agent's folder. words: what is done by then."""

    file: str
    words: str


POINTS: Dict[str, Point] = {
    "atomic.opened": Point("spool/atomic.py", "the temporary is there and empty"),
    "atomic.written": Point("spool/atomic.py", "the temporary holds everything, not yet durably"),
    "atomic.before_rename": Point("spool/atomic.py", "the temporary is durable, the file as it was"),
    "atomic.renamed": Point("spool/atomic.py", "the file is in place, its name not yet durable"),
    "atomic.before_link": Point("spool/atomic.py", "the temporary is durable, the new file is not there"),
    "atomic.linked": Point("spool/atomic.py", "the new file is in place, the temporary still beside it"),
    "root.made": Point("spool/hostroot.py", "a spool was made, and nothing points to it"),
    "adopt.pointed": Point("spool/hostroot.py", "this host points to the other's spool, which still names the other"),
    "adopt.written": Point("spool/hostroot.py", "the spool names this host"),
    "pack.received": Point("spool/packs.py", "all of a pack has arrived, in tmp"),
    "pack.stored": Point("spool/packs.py", "the pack is in place, without its index"),
    "pack.indexed": Point("spool/packs.py", "the pack counts as stored, and nobody was told"),
    "enqueue.before": Point("wire/methods_code.py", "secrets and manifests are stored, the submission is not"),
    "enqueue.stored": Point("wire/methods_code.py", "the submission is stored, and nobody was told"),
    "enqueue.before_keeper": Point("wire/methods_code.py", "all of an enqueue is stored, the keeper knows nothing"),
    "cancel.before": Point("wire/methods_jobs.py", "a cancel was asked for"),
    "cancel.written": Point("wire/methods_jobs.py", "cancel.json stands, the keeper knows nothing"),
    "retry.before": Point("wire/methods_jobs.py", "another try was asked for"),
    "retry.written": Point("wire/methods_jobs.py", "the request to try again stands, the keeper knows nothing"),
    "withdraw.locked": Point("wire/methods_move.py", "the next attempt of a job that goes is made and locked"),
    "withdraw.written": Point("wire/methods_move.py", "the job is withdrawn, and nobody was told"),
    "keeper.locked": Point("run/keeper.py", "the keeper has its lock and did nothing yet"),
    "keeper.recorded": Point("run/keeper.py", "the keeper has said who it is"),
    "keeper.ticked": Point("run/keeper.py", "one tick is over"),
    "keeper.leaving": Point("run/keeper.py", "there is no work, the lock is still held"),
    "keeper.unlocked": Point("run/keeper.py", "the lock was let go, the last look is not taken"),
    "claim.gpus": Point("run/claim.py", "the GPUs are locked, the attempt is not claimed"),
    "claim.folder": Point("run/claim.py", "the attempt's folder is there, its lock is not"),
    "claim.locked": Point("run/claim.py", "the attempt is locked, nobody supervises it"),
    "claim.spawned": Point("run/claim.py", "the supervisor was started"),
    "claim.unstarted": Point("run/claim.py", "an attempt that ends at once is claimed and has its log, no end"),
    "orphan.locked": Point("run/orphans.py", "an orphan's lock was taken over"),
    "orphan.before_end": Point("run/orphans.py", "nothing of an orphan is left, its end is not written"),
    "orphan.ended": Point("run/orphans.py", "an orphan's end is written"),
    "supervise.begun": Point("run/supervisor.py", "the supervisor has its order and wrote nothing"),
    "supervise.reserved": Point("run/supervisor.py", "the end's blocks are taken"),
    "supervise.leased": Point("run/supervisor.py", "lease.json stands"),
    "workdir.extracted": Point("spool/workdir.py", "workdir.tmp is whole, workdir is not there"),
    "workdir.renamed": Point("spool/workdir.py", "workdir is there, its name not yet durable"),
    "supervise.prepared": Point("run/supervisor.py", "all is ready, the leader is not started"),
    "supervise.spawned": Point("run/supervisor.py", "the leader waits at its gate, start.json is not there"),
    "supervise.started": Point("run/supervisor.py", "start.json stands, the gate is closed"),
    "supervise.released": Point("run/supervisor.py", "the gate is open"),
    "supervise.over": Point("run/supervisor.py", "nothing of the attempt is left, its log is not synced"),
    "supervise.synced": Point("run/supervisor.py", "the log is durable, the end is not written"),
    "end.filled": Point("run/endfile.py", "the end is written beside its place"),
    "end.renamed": Point("run/endfile.py", "end.json is in place, its name not yet durable"),
    "supervise.ended": Point("run/supervisor.py", "end.json is durable, locks are held, no keeper was told"),
}


def crash(name: str) -> None:
    """Die here, if the tests want it.

    Args:
        name: a key of POINTS.
    """
    if _armed is not None and name in _armed:
        _die(name)


def parse(text: str) -> Dict[str, Tuple[int, str]]:
    """Read ORCH_CRASH_POINT. Pure.

    Returns:
        name -> (how many times it is to be passed, the file that counts or "").

    Raises:
        ValueError: it names no point, or no number.
    """
    armed: Dict[str, Tuple[int, str]] = {}
    for word in filter(None, text.split(";")):
        name, _, rest = word.partition(":")
        times, _, path = rest.partition(":")
        if name not in POINTS:
            raise ValueError("there is no crash point {!r}".format(name))
        armed[name] = (int(times or "1"), path)
    return armed


def ordinal(path: str) -> int:
    """Count one more passing in a file that any number of processes share; return which one it was, from 1."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # With O_APPEND the position after a write is the end of what this very write added.
        os.write(descriptor, b"x")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _die(name: str) -> None:
    times, path = (_armed or {})[name]
    if not path or ordinal(path) == times:
        os.kill(os.getpid(), signal.SIGKILL)


def _shift_clock(path: str) -> None:
    real = time.time

    def shifted() -> float:
        try:
            with open(path, encoding="ascii") as stream:
                return real() + float(stream.read() or 0)
        except (OSError, ValueError):
            return real()

    # One place instead of every caller: the whole agent asks for the time as time.time().
    time.time = shifted


def _prepare(environ: Mapping[str, str]) -> Optional[Dict[str, Tuple[int, str]]]:
    if environ.get(CLOCK_VARIABLE):
        _shift_clock(environ[CLOCK_VARIABLE])
    return parse(environ[POINTS_VARIABLE]) if environ.get(POINTS_VARIABLE) else None


_armed = _prepare(os.environ)
