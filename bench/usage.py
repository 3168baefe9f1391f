"""What processes take while they run: processor time and memory, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far, that of its children that ended included.

    Of the process itself in nanoseconds (schedstat), so that a process at rest is not rounded away.
    """
    own = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own + (int(fields[13]) + int(fields[14])) / _TICKS


def memory_mb(pid: int) -> tuple[float, float]:
    """Return (resident, proportional) memory of a process in MB; the second shares what it shares with others."""
    found = {"Rss": 0, "Pss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0])
    return found["Rss"] / 1024, found["Pss"] / 1024
