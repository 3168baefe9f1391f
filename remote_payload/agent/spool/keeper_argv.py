"""Being a keeper: the command that runs one, and turning this process into it."""

from __future__ import annotations

import os
import sys
from typing import List

from remote_payload.agent.spool.place import agent_dir


def keeper_argv(root: str) -> List[str]:
    """Return the command that runs a spool's keeper."""
    return [sys.executable, "-I", "-S", agent_dir(), "keeper", root]


def become_keeper(root: str) -> None:
    """Turn this process into a spool's keeper; does not return."""
    os.execv(sys.executable, keeper_argv(root))
