"""Making sure that a keeper lives, after anything was written that one must see."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from typing import Any, Dict, List, Optional

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine import logind
from remote_payload.agent.run.jobenv import agent_environment
from remote_payload.agent.run.processes import is_same, read_process, send
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.keeper_argv import keeper_argv
from remote_payload.agent.spool.locks import is_held
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.protocol import GENERATION

WAIT_SECONDS = 5.0
_PAUSE = 0.02
_SAID_BYTES = 2000


def keeper_view(paths: SpoolPaths) -> Dict[str, Any]:
    """Return {alive, pid} of the spool's keeper; pid is None while it is not known."""
    if not is_held(paths.keeper_lock):
        return {"alive": False, "pid": None}
    return {"alive": True, "pid": _pid(paths)}


def poke(paths: SpoolPaths) -> bool:
    """Make a living keeper look at once. False when nobody reads (it is just starting, or gone)."""
    try:
        descriptor = os.open(paths.keeper_poke, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"\n")
    except BlockingIOError:
        pass  # so many pokes lie there unread that it will look anyway
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def start_keeper(paths: SpoolPaths) -> Dict[str, Any]:
    """Poke the spool's keeper, or start one; return {alive, pid}. One of an older generation is replaced.

    Raises:
        AgentFault: no_keeper, when none lives after WAIT_SECONDS; what was stored stays stored.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    older = False
    if is_held(paths.keeper_lock):
        older = _replaced(paths, deadline)
        if not older:
            poke(paths)
            return keeper_view(paths)
    began = time.time()
    outside = logind.outside_session(logind.logout(user_name()), os.getuid())
    process = _spawn(paths, *outside)
    while time.monotonic() < deadline:
        if is_held(paths.keeper_lock):
            # Beside an older version: a supervisor of it may just have started one of its own. Who it is, is awaited.
            if older and keeper_view(paths)["pid"] is None:
                time.sleep(_PAUSE)
                continue
            if not (older and _replaced(paths, deadline)):
                poke(paths)
                return keeper_view(paths)
        ended = process.poll()
        if ended == 0 and _looked_since(paths, began):
            return {"alive": False, "pid": None}  # it saw what was written, and that nothing is to be done
        if ended == 0:
            process = _spawn(paths, *outside)  # it met our own look at the lock, or a keeper that was just leaving
        elif ended is not None and ended < 0:
            process = _spawn(paths, *outside)  # somebody killed it
        elif ended is not None and outside[0]:
            outside = ([], {})  # in the session then: it goes on until the logout at least
            process = _spawn(paths, *outside)
        elif ended is not None:
            break
        time.sleep(_PAUSE)
    raise AgentFault(
        "no_keeper",
        "no keeper came up on this host{}".format(_last_words(paths)),
        "what was sent is stored; `orch status` tries again, and {} says more".format(paths.keeper_log),
    )


def user_name() -> str:
    """Return the login name of this user, or the number where there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _replaced(paths: SpoolPaths, deadline: float) -> bool:
    """Ask a keeper of an older generation to end between two ticks; tell whether it has."""
    with contextlib.suppress(AgentFault):
        said = atomic.read_json(paths.keeper_pid) or {}
        pid, generation = said.get("pid"), said.get("generation", 1)
        process = read_process(pid) if isinstance(pid, int) else None
        if process is None or process.start != said.get("start_ticks") or not isinstance(generation, int):
            return False
        if generation >= GENERATION:
            return False
        send(process, signal.SIGTERM)
        while time.monotonic() < deadline:
            if not is_held(paths.keeper_lock):
                return True
            time.sleep(_PAUSE)
    return False


def _spawn(paths: SpoolPaths, prefix: List[str], more: Dict[str, str]) -> "subprocess.Popen[bytes]":
    os.makedirs(paths.keeper, mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(paths.keeper_log, flags, 0o600)
    try:
        return subprocess.Popen(
            [*prefix, *keeper_argv(paths.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**agent_environment(os.environ), **more},
            start_new_session=True,
        )
    except OSError as error:
        raise AgentFault("no_keeper", "no keeper could be started: {}".format(error)) from error
    finally:
        os.close(log)


def _pid(paths: SpoolPaths) -> Optional[int]:
    """The pid a living keeper wrote; one that has just taken the lock has not yet, and then its forerunner's stands."""
    with contextlib.suppress(AgentFault):
        said = atomic.read_json(paths.keeper_pid) or {}
        pid = said.get("pid")
        process = read_process(pid) if isinstance(pid, int) else None
        if process is not None and process.start == said.get("start_ticks") and is_same(process):
            return process.pid
    return None


def _looked_since(paths: SpoolPaths, began: float) -> bool:
    with contextlib.suppress(AgentFault):
        at = (atomic.read_json(paths.keeper_pid) or {}).get("at")
        return isinstance(at, (int, float)) and at >= began
    return False


def _last_words(paths: SpoolPaths) -> str:
    with contextlib.suppress(OSError), open(paths.keeper_log, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _SAID_BYTES))
        lines = stream.read().decode("utf-8", "replace").strip().splitlines()
        return ": " + lines[-1][:300] if lines else ""
    return ""
