"""Where a host is and how to log in there, as a person wrote it; nothing is looked up yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SshTarget:
    """One login, before ssh_config is asked.

    Args:
        host: a name, an alias of ssh_config or an address.
        port: None = ssh_config's, else 22.
        user: None = ssh_config's, else the local one.
        identity_files: private keys named with -i, as typed.
        jump: [user@]host[:port], several with commas; None = ssh_config's.
        options: (name, value) of -o, with the names as ssh_config spells them.
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity_files: tuple[str, ...] = ()
    jump: str | None = None
    options: tuple[tuple[str, str], ...] = ()
