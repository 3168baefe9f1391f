"""Everything `check` tells about a host; what `hello` needs comes without starting any process."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
import time
from typing import Any, Dict, List, Optional, Sequence

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine import cgroup, gpu, logind
from remote_payload.agent.machine.disk import disk_facts
from remote_payload.agent.machine.gpu_apps import read_processes
from remote_payload.agent.machine.identity import boot_identity, machine_id
from remote_payload.agent.machine.text import one_line
from remote_payload.agent.machine.tool import own_env, run_tool
from remote_payload.agent.run.environments import Resolved, list_conda, resolve_python
from remote_payload.agent.wire.messages import GpuTable, PythonSpec

TORCH_TIMEOUT = 60.0
NO_GPU_MEMORY = 3 * 1024**3
"""Rented hosts in no-GPU mode have at most this much memory (bytes); AutoDL gives 2 GB."""

LOW_SHM = 512 * 1024**2

_TORCH_MARK = "ORCH-FRAMEWORKS "
_TORCH_SCRIPT = """
import json, sys
out = {"version": None, "cuda": None, "available": None, "error": "", "jax": None}
try:
    from importlib.metadata import version
    out["jax"] = version("jax")
except ImportError:
    pass
try:
    import torch
    out["version"] = str(torch.__version__)
    out["cuda"] = torch.version.cuda and str(torch.version.cuda)
    out["available"] = bool(torch.cuda.is_available())
except ImportError as error:
    out["error"] = str(error)
sys.stdout.write("\\nORCH-FRAMEWORKS " + json.dumps(out) + "\\n")
"""
"""Run by the job's Python, any version. jax is not imported: that may take seconds and all of a GPU's memory."""


def hello_facts() -> Dict[str, Any]:
    """Return what the agent knows about itself and the host without running anything.

    Returns:
        {python: {executable, version}, hostname, user, home, shell, pid, os, machine_id, boot, time}.
    """
    return {
        "python": {"executable": sys.executable, "version": "{}.{}.{}".format(*sys.version_info[:3])},
        "hostname": socket.gethostname(),
        "user": _user(),
        "home": os.path.expanduser("~"),
        "shell": login_shell(),
        "pid": os.getpid(),
        "os": os_name(),
        "machine_id": machine_id(),
        "boot": boot_identity(),
        "time": time.time(),
    }


def collect(
    deep: bool, python: Optional[PythonSpec], conda_roots: Sequence[str], path: Optional[str], disk_path: str
) -> Dict[str, Any]:
    """Return the Facts of this host (see docs/protocol.md). Never raises for what a host lacks.

    `gpu_processes` is beside the table: who uses the GPUs, where that can be seen (see machine.gpu_apps).

    Args:
        deep: also import torch in the job's Python (seconds).
        python: the job's Python; None = no torch check.
        conda_roots: the profile's conda folders, looked at first.
        path: a PATH to find nvidia-smi in; None = the agent's own.
        disk_path: where the spool lies or will lie.
    """
    tool = gpu.find_nvidia_smi(path)
    table = gpu.read_gpus(tool, path)
    if tool and table["state"] == "ok":
        table["cuda"] = gpu.read_cuda(tool, path)
    memory = cgroup.memory()
    home = os.path.expanduser("~")
    shm = disk_facts("/dev/shm") if os.path.isdir("/dev/shm") else {"free": None, "total": None}
    facts: Dict[str, Any] = {
        "hostname": socket.gethostname(),
        "user": _user(),
        "os": os_name(),
        "kernel": "{0.sysname} {0.release} {0.machine}".format(os.uname()),
        "python": {"executable": sys.executable, "version": "{}.{}.{}".format(*sys.version_info[:3])},
        "gpu": table,
        "gpu_processes": read_processes(tool, path) if tool and table["state"] == "ok" else [],
        "conda": list_conda(conda_roots),
        "torch": torch_facts(python, conda_roots) if deep and python is not None else _unchecked(),
        "disk": disk_facts(disk_path),
        "cpu": {"quota": cgroup.cpu_quota(), "nproc": os.cpu_count() or 1},
        "memory": {"limit": memory.limit, "used": memory.used, "total": memory.total},
        "shm": {"free": shm["free"], "total": shm["total"]},
        "nvidia_smi": tool,
        "no_gpu_mode": no_gpu_mode(table, memory),
        "home_writable": os.access(home, os.W_OK | os.X_OK),
        "logout": _logout(path),
    }
    facts["warnings"] = warnings_of(facts)
    return facts


def torch_facts(python: PythonSpec, conda_roots: Sequence[str], timeout: float = TORCH_TIMEOUT) -> Dict[str, Any]:
    """Ask the job's Python for torch and jax. torch is never required.

    Returns:
        {checked, available, version, cuda, python, error, jax}; checked is False when that Python could not be found
        or did not answer in time, available is None when torch is absent or broken; error says why.
    """
    try:
        found = resolve_python(python, conda_roots)
    except AgentFault as fault:
        return dict(_unchecked(), error=fault.message + (" ({})".format(fault.hint) if fault.hint else ""))
    ran = run_tool([found.python, "-c", _TORCH_SCRIPT], timeout, env=_job_like_env(found), cwd="/")
    if ran.timed_out:
        return dict(_unchecked(), python=found.python, error="importing torch took more than {:g} s".format(timeout))
    for line in reversed(ran.stdout.decode("utf-8", "replace").splitlines()):
        if line.startswith(_TORCH_MARK):
            return _read_torch(line[len(_TORCH_MARK) :], found.python)
    told = _last_words(ran.stderr) or "exit code {}".format(ran.exit_code)
    return dict(_unchecked(), checked=True, python=found.python, error="importing torch failed: " + told)


def no_gpu_mode(table: GpuTable, memory: cgroup.Memory) -> bool:
    """Tell a rented host that was started without its GPU: the driver finds no device, and memory is at most 3 GiB."""
    size = memory.limit if memory.limit is not None else memory.total
    return table["state"] == "no_device" and size is not None and size <= NO_GPU_MEMORY


def warnings_of(facts: Dict[str, Any]) -> List[str]:
    """Return a sentence for each thing that may spoil a job and that no other fact says by itself. Pure."""
    found: List[str] = []
    shm = facts["shm"]["total"]
    if shm is not None and shm < LOW_SHM:
        size = shm // 1024**2
        found.append("/dev/shm holds only {} MiB: a DataLoader with workers may die of a bus error".format(size))
    if not facts["home_writable"]:
        found.append("the home folder is not writable; the agent keeps its files there")
    torch = facts["torch"]
    if torch["error"] and not torch["checked"]:
        found.append(torch["error"])
    return found


def os_name(root: str = "/") -> str:
    """Return the name of the system for people ("Debian GNU/Linux 12 (bookworm)")."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            with open(os.path.join(root, name), encoding="utf-8", errors="replace") as stream:
                for line in stream.read(65536).splitlines():
                    if line.startswith("PRETTY_NAME="):
                        return line.partition("=")[2].strip().strip("\"'")
        except OSError:
            continue
    return os.uname().sysname


def login_shell() -> str:
    """Return the login shell of this user, or "" where none is known."""
    try:
        return pwd.getpwuid(os.getuid()).pw_shell or os.environ.get("SHELL", "")
    except KeyError:
        return os.environ.get("SHELL", "")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("USER") or str(os.getuid())


def _logout(path: Optional[str]) -> Optional[Dict[str, Any]]:
    found = logind.logout(_user(), path=path)
    return None if found is None else found._asdict()


def _unchecked() -> Dict[str, Any]:
    return {
        "checked": False,
        "available": None,
        "version": None,
        "cuda": None,
        "python": None,
        "error": "",
        "jax": None,
    }


def _read_torch(text: str, python: str) -> Dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return dict(_unchecked(), python=python, error="torch's answer cannot be read")
    facts = dict(_unchecked(), checked=True, python=python)
    for key in ("available", "version", "cuda", "error", "jax"):
        facts[key] = said.get(key)
    facts["error"] = one_line(str(facts["error"] or "").encode("utf-8", "replace"))
    return facts


def _last_words(stderr: bytes) -> str:
    """The exception at the end of a traceback, else the end of what was printed."""
    _, traceback, after = stderr.rpartition(b"Traceback (most recent call last):")
    if not traceback:
        return one_line(stderr[-400:])
    return one_line(b" ".join(line for line in after.splitlines() if not line.startswith(b" ")))


def _job_like_env(found: Resolved) -> Dict[str, str]:
    path = os.pathsep.join([os.path.dirname(found.python), os.environ.get("PATH") or os.defpath])
    env = own_env(path, PYTHONDONTWRITEBYTECODE="1")
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"):
        env.pop(name, None)
    return env
