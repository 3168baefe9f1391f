"""Running one short command under a deadline, whatever it does."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from typing import IO, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

MAX_OUTPUT = 1024 * 1024
_PIECE = 65536
_KILL_WAIT = 1.0
_LOOK = 0.2


class Ran(NamedTuple):
    """What a command did. exit_code is None when it had to be killed or could not be started."""

    exit_code: Optional[int]
    stdout: bytes
    stderr: bytes
    timed_out: bool
    missing: bool


def run_tool(
    argv: Sequence[str], timeout: float, env: Optional[Mapping[str, str]] = None, cwd: Optional[str] = None
) -> Ran:
    """Run a command in its own session and read what it prints.

    The whole process group is killed at the deadline. A process in D state cannot be killed (a wedged GPU driver does
    that to nvidia-smi); it is left behind after one more second instead of taking the agent with it.

    Args:
        argv: program and arguments; no shell is involved.
        timeout: seconds until it is killed.
        env: the whole environment; None = the agent's own.
        cwd: folder to start in; None = the agent's own.

    Returns:
        At most MAX_OUTPUT bytes of each stream; what goes beyond is read and dropped.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        return Ran(None, b"", str(error).encode("utf-8", "replace"), False, missing)
    deadline = time.monotonic() + timeout
    stdout, stderr = _read_both(process, deadline)
    try:
        code: Optional[int] = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        code = None
        _end(process)
    return Ran(code, stdout, stderr, code is None, False)


def own_env(path: Optional[str] = None, **more: str) -> Dict[str, str]:
    """Return the agent's environment with the C locale (localised tools print other words).

    Args:
        path: PATH to use instead of the agent's.
        more: variables to set on top.
    """
    env = dict(os.environ)
    env["LC_ALL"] = "C"
    if path:
        env["PATH"] = path
    env.update(more)
    return env


def _read_both(process: subprocess.Popen[bytes], deadline: float) -> Tuple[bytes, bytes]:
    pipes: List[IO[bytes]] = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    got: Dict[int, bytearray] = {pipe.fileno(): bytearray() for pipe in pipes}
    order = list(got)
    with selectors.DefaultSelector() as selector:
        for fd in order:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            ready = selector.select(min(left, _LOOK))
            if not ready and process.poll() is not None:
                break  # it has ended; something it started in the background still holds the pipe
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    selector.unregister(key.fd)
                elif len(got[key.fd]) < MAX_OUTPUT:
                    got[key.fd] += piece[: MAX_OUTPUT - len(got[key.fd])]
    for pipe in pipes:
        pipe.close()
    return bytes(got[order[0]]), bytes(got[order[1]])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    try:
        process.wait(_KILL_WAIT)
    except subprocess.TimeoutExpired:
        return
