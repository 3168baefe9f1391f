"""CPU and memory that this host really has: the cgroup's limits, not the outer machine's.

In rented containers nproc, free and the load average tell about the machine around them. Every function takes a root
folder, so that tests can give it a file tree of their own.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, NamedTuple, Optional

_NO_LIMIT = 1 << 60
"""cgroup v1 writes "no limit" as the largest number of whole pages; anything near it is none."""


class Memory(NamedTuple):
    """Bytes of RAM: the cgroup's limit (None = no limit), what is in use, and the machine's total (None = unknown)."""

    limit: Optional[int]
    used: Optional[int]
    total: Optional[int]


def cpu_quota(root: str = "/", cores: Optional[int] = None) -> float:
    """Return how many cores' worth of time this host may use.

    Args:
        root: folder that holds proc and sys.
        cores: cores this process may run on; None = ask the system (the CPU set of the cgroup is in that number).

    Returns:
        The smallest quota on the way from this process's cgroup up to the root, at most `cores`.
    """
    available = float(cores if cores is not None else _cores())
    quotas = [_v2_quota(folder) for folder in _folders(root, "")]
    quotas += [_v1_quota(folder) for folder in _folders(root, "cpu")]
    return min([available] + [quota for quota in quotas if quota is not None])


def memory(root: str = "/") -> Memory:
    """Return the limit, use and total of RAM; page cache that can be dropped does not count as used."""
    info = _meminfo(root)
    total = info.get("MemTotal")
    limit: Optional[int] = None
    used: Optional[int] = None
    places = [(folder, "memory.max", "memory.current", "inactive_file") for folder in _folders(root, "")]
    places += [
        (folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for folder in _folders(root, "memory")
    ]
    for folder, limit_name, usage_name, cache_name in places:
        value = _number(os.path.join(folder, limit_name))
        if value is None or not 0 < value < _NO_LIMIT or (total is not None and value > total):
            continue
        if limit is None or value < limit:
            limit, used = value, _working_set(folder, usage_name, cache_name)
    if limit is None and total is not None and "MemAvailable" in info:
        used = total - info["MemAvailable"]
    return Memory(limit, used, total)


def oom_kills(root: str = "/") -> Optional[int]:
    """Return a number that grows whenever the kernel kills a process of this host for want of memory, None if unknown.

    Counted by the cgroups above this process (memory.events, memory.oom_control) and by the whole machine
    (/proc/vmstat, where other tenants count too). proc(5), cgroups(7).
    """
    files = [os.path.join(folder, "memory.events") for folder in _folders(root, "")]
    files += [os.path.join(folder, "memory.oom_control") for folder in _folders(root, "memory")]
    files.append(os.path.join(root, "proc/vmstat"))
    counts = []
    for path in files:
        for line in _lines(path):
            name, _, value = line.partition(" ")
            count = _whole(value.strip()) if name == "oom_kill" else None
            counts += [count] if count is not None else []
    return sum(counts) if counts else None


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _folders(root: str, controller: str) -> List[str]:
    """Folders of this process's cgroup and of every one above it, innermost first. "" = the unified hierarchy."""
    path = _own_path(root, controller)
    found: List[str] = []
    for mount, mounted in _mounts(root, controller):
        # Without a cgroup namespace the path is the outer machine's, while the mount may show only our part of it.
        inner = path[len(mounted) :] if mounted != "/" and (path + "/").startswith(mounted + "/") else path
        parts = [part for part in inner.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            folder = os.path.join(mount, *parts[:depth])
            if os.path.isdir(folder) and folder not in found:
                found.append(folder)
    return found


def _own_path(root: str, controller: str) -> str:
    for line in _lines(os.path.join(root, "proc/self/cgroup")):
        parts = line.split(":", 2)
        if len(parts) == 3 and controller in parts[1].split(","):
            return parts[2]
    return "/"


class _Mount(NamedTuple):
    folder: str
    mounted: str


def _mounts(root: str, controller: str) -> List[_Mount]:
    """Where a hierarchy is mounted, by /proc/self/mountinfo, else where it usually is."""
    found: List[_Mount] = []
    for line in _lines(os.path.join(root, "proc/self/mountinfo")):
        left, _, right = line.partition(" - ")
        here, there = left.split(" "), right.split(" ")
        if len(here) < 5 or len(there) < 3:
            continue
        unified = there[0] == "cgroup2" and not controller
        if unified or (there[0] == "cgroup" and controller and controller in there[2].split(",")):
            found.append(_Mount(_under(root, _unescape(here[4])), _unescape(here[3])))
    if found:
        return found
    usual = ["cpu", "cpu,cpuacct"] if controller == "cpu" else [controller] if controller else ["", "unified"]
    return [_Mount(_under(root, os.path.join("/sys/fs/cgroup", name).rstrip("/")), "/") for name in usual]


def _v2_quota(folder: str) -> Optional[float]:
    words = " ".join(_lines(os.path.join(folder, "cpu.max"))).split()
    if len(words) != 2:
        return None
    quota, period = _whole(words[0]), _whole(words[1])  # "max 100000": no limit
    return quota / period if quota and period and quota > 0 and period > 0 else None


def _v1_quota(folder: str) -> Optional[float]:
    quota = _number(os.path.join(folder, "cpu.cfs_quota_us"))
    period = _number(os.path.join(folder, "cpu.cfs_period_us"))
    return quota / period if quota and period and quota > 0 else None


def _working_set(folder: str, usage_name: str, cache_name: str) -> Optional[int]:
    usage = _number(os.path.join(folder, usage_name))
    if usage is None:
        return None
    for line in _lines(os.path.join(folder, "memory.stat")):
        words = line.split()
        if len(words) == 2 and words[0] == cache_name:
            return max(0, usage - (_whole(words[1]) or 0))
    return usage


def _meminfo(root: str) -> Dict[str, int]:
    """Bytes by name from /proc/meminfo (its kB are 1024 bytes)."""
    found: Dict[str, int] = {}
    for line in _lines(os.path.join(root, "proc/meminfo")):
        name, _, rest = line.partition(":")
        size = _whole(rest.split()[0]) if rest.split() else None
        if size is not None:
            found[name] = size * 1024
    return found


def _number(path: str) -> Optional[int]:
    return _whole(" ".join(_lines(path)).strip())


def _whole(text: str) -> Optional[int]:
    return int(text) if re.fullmatch("-?[0-9]{1,20}", text) else None


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(1 << 20).splitlines()
    except OSError:
        return []


def _under(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _unescape(path: str) -> str:
    """mountinfo writes blank, tab, newline and backslash as octal."""
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(octal, char)
    return path
