"""Processes that somebody left behind (Linux)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def strays(folder: Path) -> list[str]:
    """Return the processes that have to do with a folder: it stands in their command, environment or working folder.

    This process and dead ones that wait for their parent are left out.

    Returns:
        For each its pid and command line.
    """
    wanted = os.fsencode(folder)
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        told = b"\0".join(_read(place / name) for name in ("cmdline", "environ"))
        with contextlib.suppress(OSError):
            told += b"\0" + os.fsencode(os.readlink(place / "cwd"))  # noqa: PTH115 - it need not exist
        if wanted in told:
            found.append(f"{place.name}: {_read(place / 'cmdline').replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone meanwhile, or another user's
        return b""
