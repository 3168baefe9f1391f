"""From the login line in the inventory to a target the transport can connect to."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.remote.target import SshTarget
from orchestrator.spec.sshline import LOCAL, read_ssh_line

__all__ = ["LOCAL", "SshTarget", "parse_ssh_line"]


def parse_ssh_line(line: str) -> SshTarget:
    """Read a login line such as `ssh -p 38076 root@host`.

    Raises:
        UsageError: it cannot be used, or it is `local`, which is this very machine and has no login.
    """
    if line.strip() == LOCAL:
        raise UsageError("`local` is this very machine, and there is no SSH to it")
    found = read_ssh_line(line)
    return SshTarget(
        host=found.host,
        port=found.port,
        user=found.user,
        identity_files=tuple(found.identity_files),
        jump=found.jump,
        options=tuple(found.options),
    )
