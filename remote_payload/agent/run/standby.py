"""`standby`: waits beside the keeper, asleep in a lock, and becomes the next one when that is killed.

Without it a queue whose keeper is killed while nothing runs would rest until somebody connects. A keeper that ends by
itself ends its standby first.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import List

from remote_payload.agent.spool.keeper_argv import become_keeper
from remote_payload.agent.spool.paths import SpoolPaths

YOUNG_SECONDS = 2.0
"""A keeper that dies sooner may do so again and again: the next one waits that long."""


def main(argv: List[str]) -> int:
    """Wait for the keeper's death, then be the keeper.

    Args:
        argv: the spool's root.

    Returns:
        0, when the spool was removed. Else it becomes the keeper.
    """
    paths = SpoolPaths(argv[0])
    began = time.monotonic()
    lock = os.open(paths.keeper_lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    # Shared: a keeper that somebody else starts meanwhile is never kept out for longer than this moment.
    fcntl.flock(lock, fcntl.LOCK_SH)
    mine = os.fstat(lock).st_ino
    os.close(lock)
    if time.monotonic() - began < YOUNG_SECONDS:
        time.sleep(YOUNG_SECONDS)
    try:
        if os.stat(paths.keeper_lock).st_ino != mine:
            return 0
    except OSError:
        return 0
    become_keeper(argv[0])
    return 0
