"""Processes that have to do with some attempts, found over /proc without the agent's code."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.faults.spoolfiles import Spool


def left_over(spools: Iterable[Spool], folders: Iterable[Path]) -> list[str]:
    """Return the living processes that bear the marker of an attempt, stand in its session, or hold, name or stand in
    something below one of the folders. This process is left out."""
    every = list(spools)
    marks = {str(start["marker"]) for spool in every for _, each in spool.attempts() if (start := each.start)}
    sessions = {
        (int(start["sid"]), int(start["start_ticks"]))
        for spool in every
        for _, each in spool.attempts()
        if (start := each.start)
    }
    wanted = [os.fsencode(folder) + b"/" for folder in folders]
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid() or _dead(place):
            continue
        why = _why(place, marks, sessions, wanted)
        if why:
            line = _read(place / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
            found.append(f"process {place.name} is left ({why}): {line[:300]}")
    return found


def _why(place: Path, marks: set[str], sessions: set[tuple[int, int]], wanted: list[bytes]) -> str:
    for entry in _read(place / "environ").split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == b"ORCH_ATTEMPT_MARKER" and value.decode(errors="replace") in marks:
            return "it bears an attempt's marker"
    fields = _fields(place)
    session = int(fields[3]) if fields else 0
    leader = _fields(Path("/proc") / str(session))
    if leader and (session, int(leader[19])) in sessions:
        return "it stands in an attempt's session"
    held = [_link(each) for each in [place / "cwd", *_descriptors(place)]]
    if any(link.startswith(folder) for link in held for folder in wanted):
        return "it holds something of a host's"
    if any(folder in _read(place / "cmdline").replace(b"\0", b"/") for folder in wanted):
        return "it was told of a host's folder"
    return ""


def _fields(place: Path) -> list[bytes]:
    """Return the fields of `stat` behind the name, the state first."""
    return _read(place / "stat").rpartition(b")")[2].split()


def _dead(place: Path) -> bool:
    fields = _fields(place)
    return not fields or fields[0] in (b"Z", b"X")


def _descriptors(place: Path) -> list[Path]:
    try:
        return list((place / "fd").iterdir())
    except OSError:
        return []


def _link(path: Path) -> bytes:
    try:
        return os.fsencode(path.readlink())
    except OSError:
        return b""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
