"""ProxyCommand: a program that carries the connection, seen as a socket.

paramiko's own class notices neither that the program ended (it reads on and on) nor that it must be waited for.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import BinaryIO, cast

_PIECE = 32 * 1024
_END_SECONDS = 2.0


def run_proxy_command(command: str) -> socket.socket:
    """Start the program and return a socket whose other end are its stdin and stdout; closing the socket ends it.

    Args:
        command: a line for the person's shell, tokens filled in.

    Raises:
        OSError: it cannot be started.
    """
    # exec, as OpenSSH does it: the program itself is ended, not only a shell around it.
    shell = os.environ.get("SHELL") or "/bin/sh"
    argv: str | list[str] = command if sys.platform == "win32" else [shell, "-c", f"exec {command}"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    near, far = socket.socketpair()
    # A pair of threads: a socket as stdin is a thing of POSIX only.
    threading.Thread(target=_up, args=(far, process), daemon=True, name="proxy-up").start()
    threading.Thread(target=_down, args=(far, process), daemon=True, name="proxy-down").start()
    return near


def _up(far: socket.socket, process: subprocess.Popen[bytes]) -> None:
    stdin = cast(BinaryIO, process.stdin)
    try:
        with suppress(OSError, ValueError):
            while data := far.recv(_PIECE):
                stdin.write(data)
                stdin.flush()
        with suppress(OSError):
            stdin.close()
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        far.close()


def _down(far: socket.socket, process: subprocess.Popen[bytes]) -> None:
    stdout = cast(BinaryIO, process.stdout)
    with suppress(OSError, ValueError), stdout:
        while data := os.read(stdout.fileno(), _PIECE):
            far.sendall(data)
    # The reader of the other end sees the end, and so does the thread that reads from it.
    with suppress(OSError):
        far.shutdown(socket.SHUT_RDWR)
