"""Who uses the GPUs, as far as it can be seen. Only shown to people: memory in use decides, never this list."""

from __future__ import annotations

import os
import pwd
import re
from typing import List, Optional, TypedDict

from remote_payload.agent.machine.gpu import ask
from remote_payload.agent.machine.text import neutralise, one_line

_ROW = re.compile(r"\s*([0-9]{1,10}), *([A-Za-z0-9._-]{1,100}), *([0-9]{1,9}|N/A|\[[^,]*\]), *(.*)")


class GpuProcess(TypedDict):
    """A process on a GPU. user is None when the pid is not one of this host's; memory is MiB, None = unknown."""

    pid: int
    uuid: str
    memory_mib: Optional[int]
    name: str
    user: Optional[str]


def read_processes(tool: str, path: Optional[str] = None, timeout: float = 10) -> List[GpuProcess]:
    """Return the processes nvidia-smi names, each with the user it runs as.

    Inside containers the list is often empty while memory is in use, so an empty list says nothing.

    Args:
        tool: nvidia-smi's path.
        path: PATH for a wrapped nvidia-smi; None = the agent's own.
        timeout: seconds.
    """
    ran = ask(
        tool, path, timeout, "--query-compute-apps=pid,gpu_uuid,used_memory,name", "--format=csv,noheader,nounits"
    )
    found = parse_processes(neutralise(ran.stdout))
    for process in found:
        process["user"] = _user(process["pid"]) if process["name"] else None
    return found


def parse_processes(stdout: str) -> List[GpuProcess]:
    """Read the csv answer; the name is the last field because it may hold commas. Pure.

    Returns:
        One entry a row; name is "" where the driver could not tell it: that pid belongs to another pid namespace.
    """
    found: List[GpuProcess] = []
    for line in stdout.splitlines():
        row = _ROW.fullmatch(line)
        if row is None:
            continue
        memory = row.group(3)
        name = row.group(4).strip()
        found.append(
            GpuProcess(
                pid=int(row.group(1)),
                uuid=row.group(2),
                memory_mib=int(memory) if memory[0].isdecimal() else None,
                name="" if name.startswith("[") or name == "N/A" else one_line(name.encode("utf-8", "replace"), 80),
                user=None,
            )
        )
    return found


def _user(pid: int) -> Optional[str]:
    try:
        uid = os.stat("/proc/{}".format(pid)).st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
