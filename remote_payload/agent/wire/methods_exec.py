"""One command on the host, its output streamed."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import Any, Dict, Mapping, Optional, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.run import envbuild, jobenv, launch
from remote_payload.agent.run.environments import Resolved, resolve_python
from remote_payload.agent.spool import atomic, secrets
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.messages import JobSpec
from remote_payload.agent.wire.outbox import Closed
from remote_payload.agent.wire.session import Answer, Call

POLL_SECONDS = 0.1
DRAIN_SECONDS = 0.5
"""How long output is waited for after the command ended: what it left in the background may hold its pipes."""
KILL_AFTER = 3.0


def exec_(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Run a command in a session of its own; it is ended when nobody wants its output any more."""
    if not args["argv"]:
        raise AgentFault("bad_request", "there is no command to run")
    env, folder = _surroundings(context, args["job"])
    process = _started(args["argv"], args["cwd"] or folder, env)
    try:
        _pass_on(call, process)
        code = process.wait()
    except Closed:
        _end(process)
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Answer({"exit_code": code if code >= 0 else None, "signal": -code if code < 0 else None})


def _started(argv: "list[str]", folder: str, env: Dict[str, str]) -> "subprocess.Popen[bytes]":
    if not os.path.isdir(folder):
        raise AgentFault("not_found", "there is no folder {} on this host".format(folder))
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=env,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise AgentFault("not_found", "there is no command {!r} on this host".format(argv[0])[:300]) from None
    except OSError as error:
        raise AgentFault("refused", "{!r} cannot be run: {}".format(argv[0], error.strerror)[:300]) from error


def _pass_on(call: Call, process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None and process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, 1)
        selector.register(process.stderr, selectors.EVENT_READ, 2)
        quiet_since: Optional[float] = None
        while selector.get_map():
            call.check()
            ready = selector.select(POLL_SECONDS)
            for key, _ in ready:
                data = os.read(key.fd, call.room())
                if data:
                    call.send(data, fd=key.data)
                else:
                    selector.unregister(key.fileobj)
            if ready or process.poll() is None:
                quiet_since = None
                continue
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since >= DRAIN_SECONDS:
                return
    while process.poll() is None:
        call.pause(0.02)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and what it started in its process group: politely, then for good."""
    _signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_AFTER)
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_AFTER)


def _signal_group(leader: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signum)


def _surroundings(context: Context, job: Optional[str]) -> Tuple[Dict[str, str], str]:
    """Return environment and folder of a command: the login's, or those of a job."""
    if job is None:
        return dict(os.environ), os.path.expanduser("~")
    spec = context.find(job)
    place = context.paths.job(job)
    if not os.path.isdir(place.workdir):
        raise AgentFault("not_found", "the job {} has no workdir yet".format(job), "wait until it starts")
    found = _python(context, spec)
    numbers = place.attempt_numbers()
    attempt = numbers[-1] if numbers else 1
    env = jobenv.job_environment(
        jobenv.base_environment(context.profile, os.environ),
        spec,
        jobenv.AttemptPlace(attempt, place.outputs, (), "exec-" + job),
        secrets.read(context.paths, spec),
    )
    env["PATH"] = launch.python_folders(found, context.paths.shims) + ":" + env["PATH"]
    return env, os.path.normpath(os.path.join(place.workdir, spec["dir"]))


def _python(context: Context, spec: JobSpec) -> Resolved:
    if spec["setup"] is None:
        return resolve_python(spec["python"], context.conda_roots)
    digest = (atomic.read_json(context.paths.job(spec["id"]).env) or {}).get("digest")
    return envbuild.ready_python(context.paths, str(digest or ""))
