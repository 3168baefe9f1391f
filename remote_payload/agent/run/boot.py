"""`boot`: what a host starts after a reboot. It waits for the spool's disk, then becomes the keeper."""

from __future__ import annotations

import os
import time
from typing import List

from remote_payload.agent.spool.keeper_argv import become_keeper
from remote_payload.agent.spool.paths import SpoolPaths

WAIT_SECONDS = 600.0
_PAUSE = 1.0


def main(argv: List[str]) -> int:
    """Run the keeper of a spool once its folder is there.

    Args:
        argv: the spool's root.

    Returns:
        1, when the folder did not come (a data disk that is not mounted any more). Else it becomes the keeper.
    """
    # A keeper started at once would make its folder on the disk below the mount point.
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if os.path.exists(SpoolPaths(argv[0]).version):
            become_keeper(argv[0])
        time.sleep(_PAUSE)
    return 1
