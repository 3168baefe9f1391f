"""Running a command and seeing what it took: time, processor time, and the largest memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CommandFailed(Exception):
    """A command did not do what it should; its own words are in the message."""


@dataclass(frozen=True)
class Took:
    """What a command took.

    Args:
        began: seconds since the epoch.
        seconds: from start to end.
        cpu: seconds of processor time.
        out: what it printed.
    """

    began: float
    seconds: float
    cpu: float
    out: bytes


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None = None,
    codes: Sequence[int] = (0,),
    tmp: Path | None = None,
) -> Took:
    """Run a command to its end.

    Raises:
        CommandFailed: its exit code is none of `codes`.
    """
    # Through files, so that nothing here competes with the command while it runs.
    folder = tmp or Path(env.get("HOME", "."))
    out, err = folder / "out.bench", folder / "err.bench"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        began, tick = time.time(), time.monotonic()
        process = subprocess.Popen(
            argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - tick
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        words = err.read_text(errors="replace")[-1500:] + out.read_text(errors="replace")[-500:]
        raise CommandFailed(f"{' '.join(argv)[:300]}: exit {process.returncode}\n{words}")
    return Took(began, seconds, usage.ru_utime + usage.ru_stime, out.read_bytes())


# A process counts what its parent held when it forked as its own peak, so it is started by a small one.
_PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
sys.stdout.write("%d %d" % (status, usage.ru_maxrss))
"""


def peak_mb(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> float:
    """Return the largest resident memory that a command has, in MB.

    Raises:
        CommandFailed: it did not end well.
    """
    small = [sys.executable, "-I", "-S", "-c", _PEAK, *argv]
    out = subprocess.run(
        small, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=True
    ).stdout
    status, kib = map(int, out.split())
    if status:
        raise CommandFailed(f"{' '.join(argv)[:300]}: status {status}")
    return kib / 1024
