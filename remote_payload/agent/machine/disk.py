"""Room on the file system that holds a path."""

from __future__ import annotations

import os
from typing import Any, Dict


def existing(path: str) -> str:
    """Return the path, or its nearest ancestor that exists (a spool is asked about before it is made)."""
    path = os.path.abspath(os.path.expanduser(path))
    while not os.path.exists(path):
        parent = os.path.dirname(path)
        if parent == path:
            break
        path = parent
    return path


def disk_facts(path: str) -> Dict[str, Any]:
    """Tell the free room where a path lies.

    Bare `df` hides the data disk of rented containers, so the very path is asked (statvfs, as `df -P PATH` does).

    Args:
        path: any path; it need not exist yet.

    Returns:
        {path, free, total, inodes_free, inodes_total}; sizes in bytes for an unprivileged writer. A value that cannot
        be read is None, and so are inodes on file systems that do not count them (btrfs, some network shares).
    """
    path = os.path.expanduser(path)
    facts: Dict[str, Any] = {"path": path, "free": None, "total": None, "inodes_free": None, "inodes_total": None}
    try:
        stat = os.statvfs(existing(path))
    except OSError:
        return facts
    facts["free"] = stat.f_bavail * stat.f_frsize
    facts["total"] = stat.f_blocks * stat.f_frsize
    if stat.f_files:
        facts["inodes_free"] = stat.f_favail
        facts["inodes_total"] = stat.f_files
    return facts
