"""Who this host is, and which boot of it this is."""

from __future__ import annotations

import hashlib
import os
import socket
from typing import Dict, Optional, Sequence

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.text import one_line
from remote_payload.agent.machine.tool import own_env, run_tool

IDENTITY_TIMEOUT = 5.0
_START_TIME_FIELD = 22
_SHELL_NOT_FOUND = (126, 127)


def machine_id(root: str = "/") -> str:
    """Return the machine id of the system, or "" where there is none.

    Containers made from one image share it, so it says who the host is only together with the host name.
    """
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        text = _read(os.path.join(root, name)).strip()
        if text and text != "uninitialized":
            return text
    return ""


def boot_identity(root: str = "/") -> Dict[str, str]:
    """Tell this boot from every other.

    Returns:
        {id, pid1_start}: the kernel's boot id, and the start time of process 1 in clock ticks since the boot. A
        container that restarts keeps the first and changes the second. What cannot be read is "".
    """
    stat = _read(os.path.join(root, "proc/1/stat"))
    # The name of the process may hold blanks and parentheses: count fields after the last ")".
    fields = stat.rpartition(")")[2].split()
    position = _START_TIME_FIELD - 3
    start = fields[position] if len(fields) > position else ""
    return {"id": _read(os.path.join(root, "proc/sys/kernel/random/boot_id")).strip(), "pid1_start": start}


def host_id(identity_argv: Optional[Sequence[str]] = None) -> str:
    """Return the id that the spool of this host is bound to.

    Args:
        identity_argv: the profile's identity command (on rented containers: what prints the container's name). None,
            a command that does not exist here, or one that prints nothing: machine id and host name are used.

    Returns:
        "h-" and 16 hex digits.

    Raises:
        AgentFault: internal, when the command failed or hung. Falling back then would give the same host a second id
            and with it a second spool.
    """
    said = _identity_output(identity_argv) if identity_argv else ""
    source = "identity\0" + said if said else "machine\0{}\0{}".format(machine_id(), socket.gethostname())
    return "h-" + hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _identity_output(argv: Sequence[str]) -> str:
    ran = run_tool(argv, IDENTITY_TIMEOUT, env=own_env())
    if ran.missing or ran.exit_code in _SHELL_NOT_FOUND:
        return ""
    if ran.exit_code != 0:
        why = "it did not end within {:g} s".format(IDENTITY_TIMEOUT) if ran.timed_out else one_line(ran.stderr)
        raise AgentFault(
            "internal",
            "the identity command of this host's profile failed: " + (why or "exit code {}".format(ran.exit_code)),
            "run it on the host by hand ({}), or set another profile".format(" ".join(argv)),
        )
    return ran.stdout.decode("utf-8", "surrogateescape").strip()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(65536)
    except OSError:
        return ""
