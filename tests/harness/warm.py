"""Commands that start quickly: a process that has the libraries imported already is forked for each of them.

Only other people's libraries: every module of orch is imported by the command itself, in its own environment.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARIES = (
    "fabric", "keyring", "paramiko", "pathspec", "platformdirs", "pydantic.types", "rich.console", "rich.live",
    "rich.progress", "rich.table", "ruamel.yaml", "sqlite3", "tenacity", "typer.main", "typer._adapters",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
REQUEST = 1 << 20
"""Bytes at most of one request: arguments, folder, environment."""
_LENGTH = struct.Struct("!i")


def run(
    module: str, words: Sequence[str], folder: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module words` to its end, with no input; return its exit code and what it printed.

    Args:
        folder: where it is run.
        env: its whole environment.
        timeout: seconds.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    request = json.dumps({"module": module, "words": list(words), "folder": str(folder), "env": dict(env)}).encode()
    assert len(request) < REQUEST
    with (
        contextlib.ExitStack() as stack,
        socket.socket(socket.AF_UNIX) as line,
        Path(os.devnull).open("rb") as nothing,
    ):
        out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        line.connect(str(_address()))
        line.settimeout(timeout)
        socket.send_fds(line, [_LENGTH.pack(len(request))], [nothing.fileno(), out.fileno(), err.fileno()])
        line.sendall(request)
        (pid,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
        try:
            (status,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), timeout, _text(out), _text(err)) from None
        return subprocess.CompletedProcess(list(words), os.waitstatus_to_exitcode(status), _text(out), _text(err))


def _text(file: Any) -> str:
    file.seek(0)
    data: bytes = file.read()
    return data.decode("utf-8")


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise EOFError("the process that starts commands is gone")
        data += more
    return data


@functools.cache
def _address() -> Path:
    """Start the process that is forked, once; it ends with this one."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.harness.warm", str(folder / "line")],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return folder / "line"


def serve(path: str) -> tuple[str, str]:
    """Fork a process for each request. Returns, in each of them, the module to run and its folder."""
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    os.write(1, b"ready\n")
    # The end of stdin is the end of whoever asked for this process.
    if os.fork() == 0:
        listener.close()
        while os.read(0, 1):
            pass
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(0)
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _begin(line)
        line.close()


def _begin(line: socket.socket) -> tuple[str, str]:
    """Become the command, below a process that waits for it and tells how it ended."""
    data, fds, _, _ = socket.recv_fds(line, _LENGTH.size, 3)
    request = json.loads(_exactly(line, _LENGTH.unpack(data)[0]))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        line.sendall(_LENGTH.pack(pid))
        line.sendall(_LENGTH.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    line.close()
    for wanted, given in enumerate(fds):
        os.dup2(given, wanted)
        os.close(given)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8", errors=errors, write_through=True)
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    sys.argv = [request["module"], *request["words"]]
    return request["module"], request["folder"]


if __name__ == "__main__":
    MODULE, FOLDER = serve(sys.argv[1])
    # As `python -m` has it. What follows is the end of this process too: its threads are waited for as ever.
    sys.path[0] = FOLDER
    sys.path.insert(1, str(ROOT))
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
