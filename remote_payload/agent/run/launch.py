"""Starting a user's text: in its own session, behind a gate, with its output going straight into the log file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from typing import Dict, List, Mapping, NamedTuple, Sequence

from remote_payload.agent.run.environments import Resolved

LAUNCH_SH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.sh")
HIGH_DESCRIPTOR = 200
OOM_SCORE_ADJ = 500
"""When memory runs out the kernel shall take the job, never sshd or the agent."""


class Command(NamedTuple):
    """What to start.

    folder: where the user's text starts. script: the file it stands in. env: its whole environment.
    first: folders that go before PATH so that `python` is the resolved one (see `python_folders`).
    """

    python: Resolved
    folder: str
    script: str
    env: Mapping[str, str]
    first: str


class Started(NamedTuple):
    """A leader that waits at the gate. gate: the descriptor to open it with."""

    process: "subprocess.Popen[bytes]"
    gate: int

    def release(self) -> None:
        """Let the user's text begin; a leader that is gone already is found by its status."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.gate, b"go\n")
        os.close(self.gate)

    def refuse(self) -> None:
        """Close the gate: the leader ends without having run anything of the user's."""
        os.close(self.gate)


def shell() -> str:
    """Return bash, or sh where there is no bash."""
    return shutil.which("bash", path="/bin:/usr/bin:/usr/local/bin") or "/bin/sh"


def argv(command: Command) -> List[str]:
    """Return the leader's command line. Pure apart from looking for bash."""
    found = command.python
    return [
        shell(),
        LAUNCH_SH,
        found.kind,
        found.python,
        found.prefix,
        found.conda_root,
        found.conda_env,
        command.first,
        command.folder,
        command.script,
    ]


def spawn(command: Command, log: int, keep: Sequence[int] = ()) -> Started:
    """Start the leader behind its gate.

    Args:
        command: what to start.
        log: a descriptor of the log, opened for appending; it becomes stdout and stderr.
        keep: further descriptors that its processes are to hold (the locks of their GPUs).

    Raises:
        OSError: the shell cannot be started (no processes left, no memory).
    """
    inner, gate = os.pipe()
    # The log once more, under a number that no redirection touches: who closed stdout and stderr is known by it.
    held = [_out_of_the_way(each) for each in (log, *keep)]
    try:
        process = subprocess.Popen(
            argv(command),
            stdin=inner,
            stdout=log,
            stderr=log,
            env=dict(command.env),
            cwd="/",
            start_new_session=True,
            pass_fds=held,
        )
    except OSError:
        os.close(gate)
        raise
    finally:
        for descriptor in (inner, *held):
            os.close(descriptor)
    _prefer_for_oom(process.pid)
    return Started(process, gate)


def python_folders(found: Resolved, shims: str) -> str:
    """Return what goes before PATH so that `python` is the resolved interpreter.

    Args:
        found: the job's Python.
        shims: a folder under which a `python` is made when the interpreter's own folder has none, or another one
            (/usr/bin/python3.11 beside a `python` that is 2.7).

    Raises:
        OSError: the shim cannot be written.
    """
    own = os.path.dirname(found.python)
    if _is(os.path.join(own, "python"), found.python):
        return own
    folder = os.path.join(shims, found.python.strip("/").replace("/", "-"))
    if not _is(os.path.join(folder, "python"), found.python):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name in ("python", "python3"):
            _link(found.python, os.path.join(folder, name))
    return folder + os.pathsep + own


def write_script(path: str, text: str) -> None:
    """Write the user's text to a file only its owner reads. CRLF line ends become LF: the shell would choke on them."""
    data = text.replace("\r\n", "\n").encode("utf-8", "surrogateescape")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data if data.endswith(b"\n") else data + b"\n")


def environment_record(found: Resolved) -> Dict[str, str]:
    """Return what start.json and ready.json say of a Python."""
    return {"kind": found.kind, "prefix": found.prefix, "python": found.python, "version": found.version}


def _out_of_the_way(descriptor: int) -> int:
    """Return a copy with a high number: scripts write `exec 9> file`, and would close what stands there."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
    except OSError:  # so few descriptors are allowed here
        return os.dup(descriptor)


def _is(path: str, python: str) -> bool:
    try:
        return os.path.samefile(path, python)
    except OSError:
        return False


def _link(target: str, path: str) -> None:
    # Made beside and renamed: two attempts may want the same shim at the same time.
    beside = tempfile.mkdtemp(prefix=".shim-", dir=os.path.dirname(path))
    try:
        os.symlink(target, os.path.join(beside, "link"))
        os.replace(os.path.join(beside, "link"), path)
    finally:
        os.rmdir(beside)


def _prefer_for_oom(pid: int) -> None:
    # Raising the score needs no right; where /proc is read-only the job runs all the same.
    with contextlib.suppress(OSError), open("/proc/{}/oom_score_adj".format(pid), "w") as stream:
        stream.write(str(OOM_SCORE_ADJ))
