"""Pins: for a day after a controller was told that something is here, it stays here."""

from __future__ import annotations

import os
import time
from typing import Iterable

from remote_payload.agent.spool.paths import SpoolPaths

PIN_SECONDS = 24 * 3600.0


def pin(paths: SpoolPaths, digests: Iterable[str]) -> None:
    """Keep packs and snapshots for PIN_SECONDS from now.

    Raises:
        OSError: no room, not even for an empty file.
    """
    for digest in digests:
        path = paths.pin(digest)
        try:
            os.utime(path)
        except FileNotFoundError:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            os.utime(path)


def is_pinned(paths: SpoolPaths, digest: str) -> bool:
    """Tell whether something was pinned within PIN_SECONDS."""
    try:
        age = time.time() - os.stat(paths.pin(digest)).st_mtime
    except FileNotFoundError:
        return False
    # A time in the future (the clock was set back) counts as now.
    return age < PIN_SECONDS
