"""What ssh_config says of a login. OpenSSH itself is asked (`ssh -G`): paramiko's parser ignores Include, takes
`ProxyJump none` for a host, and counts Match criteria it does not know as true."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

from orchestrator.errors import HostError, UsageError
from orchestrator.remote.target import SshTarget

DEFAULT_PORT = 22
RESOLVE_TIMEOUT = 15.0
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class Resolved:
    """A login with everything looked up.

    Args:
        alias: what the person typed; names the host in messages.
        identity_files: private keys to try, existing ones only.
        identity_agent: socket of the agent; "" = the environment's, "none" = no agent.
        key_name: name under which the host key is kept (HostKeyAlias), "" = the host's.
        known_hosts: the user's own files, only read.
        jumps: the hops before it, outermost first.
        proxy_command: a program that carries the connection, "" = none.
    """

    alias: str
    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...] = ()
    identities_only: bool = False
    identity_agent: str = ""
    certificates: tuple[Path, ...] = ()
    key_name: str = ""
    known_hosts: tuple[Path, ...] = ()
    jumps: tuple[Resolved, ...] = ()
    proxy_command: str = ""
    connect_timeout: float = 10.0
    label: str = field(default="", compare=False)

    @property
    def key_entry(self) -> str:
        """The name in known_hosts: `host` or `[host]:port`."""
        if self.key_name:
            return self.key_name
        return self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"


def resolve(target: SshTarget, config: Path | None = None, home: Path | None = None) -> Resolved:
    """Return the login with ssh_config applied.

    Args:
        target: as typed.
        config: an ssh_config; by default ~/.ssh/config when it is there.
        home: what `~` means; by default the person's.

    Raises:
        UsageError: the file is wrong, or needs what only `ssh` understands and there is no `ssh`.
    """
    home = home or Path.home()
    config = config or home / ".ssh" / "config"
    values = _ask_ssh(target, config) if shutil.which("ssh") else _parse(target, config)
    return _build(target, values, config, home)


def _ask_ssh(target: SshTarget, config: Path) -> dict[str, list[str]]:
    argv = ["ssh", "-G", "-F", str(config) if config.exists() else "none"]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    if target.user is not None:
        argv += ["-l", target.user]
    if target.jump:
        argv += ["-J", target.jump]
    for name, value in target.options:
        argv += ["-o", f"{name}={value}"]
    try:
        done = subprocess.run(
            [*argv, "--", target.host], capture_output=True, text=True, timeout=RESOLVE_TIMEOUT, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"ssh -G {target.host} failed: {error}", host=target.host) from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or "ssh -G failed").splitlines()
        raise UsageError(f"ssh_config: {lines[0]}", f"Mend {config}.")
    values: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name, []).append(value)
    return values


def _parse(target: SshTarget, config: Path) -> dict[str, list[str]]:
    """The fallback without an ssh program: refuses what paramiko's parser would get wrong."""
    parser = paramiko.SSHConfig()
    if config.exists():
        text = config.read_text(encoding="utf-8", errors="surrogateescape")
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(r"\s*include\b", line, re.I):
                raise UsageError(f"{config}:{number}: Include needs an ssh program, and none is installed here")
            if re.match(r"\s*match\b", line, re.I) and not re.match(
                r"\s*match\s+(all|(host|user)\s+\S+)\s*$", line, re.I
            ):
                raise UsageError(f"{config}:{number}: this Match needs an ssh program, and none is installed here")
        parser.parse(text.splitlines())
    found = parser.lookup(target.host)
    values: dict[str, list[str]] = {}
    for name, value in found.items():
        words = value if isinstance(value, list) else [value]
        values[name] = [re.sub(r"\s+#.*$", "", word) for word in words]
    for name, value in target.options:
        values[name.lower()] = [value]
    if target.jump:
        values["proxyjump"] = [target.jump]
    return values


def _build(target: SshTarget, values: dict[str, list[str]], config: Path, home: Path) -> Resolved:
    def one(name: str, default: str = "") -> str:
        found = values.get(name, [default])[0]
        return default if found.lower() == "none" else found

    typed = [_expand(path, home) for path in target.identity_files]
    missing = [path for path in typed if not path.exists()]
    if missing:
        raise UsageError(f"the key file {missing[0]} is not there", "Check the -i of the host's login line.")
    listed = [_expand(path, home) for path in values.get("identityfile", [])]
    listed += [home / ".ssh" / name for name in DEFAULT_KEYS] if not listed else []
    known = [_expand(path, home) for line in values.get("userknownhostsfile", []) for path in line.split()]
    timeout = one("connecttimeout")
    jumps = _jumps(one("proxyjump"), config, home)
    return Resolved(
        alias=target.host,
        host=one("hostname", target.host),
        port=target.port or int(one("port", str(DEFAULT_PORT))),
        user=target.user or one("user") or _login_name(),
        identity_files=tuple(dict.fromkeys([*typed, *(path for path in listed if path.exists())])),
        identities_only=one("identitiesonly") == "yes" or bool(typed),
        identity_agent="none" if values.get("identityagent", [""])[0].lower() == "none" else one("identityagent"),
        certificates=tuple(_expand(path, home) for path in values.get("certificatefile", [])),
        key_name=one("hostkeyalias"),
        known_hosts=tuple(known or [home / ".ssh" / "known_hosts"]),
        jumps=jumps,
        proxy_command="" if jumps else one("proxycommand"),
        connect_timeout=float(timeout) if timeout.isdigit() and int(timeout) > 0 else 10.0,
    )


def _jumps(text: str, config: Path, home: Path) -> tuple[Resolved, ...]:
    hops: list[Resolved] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        user, _, place = word.removeprefix("ssh://").rpartition("@")
        found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", place)
        if not found:
            raise UsageError(f"{word!r} is not a jump host", "Write user@host:port.")
        host, port = found[1] or found[3], found[2] or found[4]
        if host.startswith("-"):
            raise UsageError(f"{word!r} is not a jump host", "Write user@host:port.")
        hop = resolve(SshTarget(host, int(port) if port else None, user or None), config, home)
        # A hop that is itself behind hops brings them along, as OpenSSH does for the first one.
        hops += [*(hop.jumps if not hops else ()), hop]
    return tuple(hops)


def _expand(path: str, home: Path) -> Path:
    text = path.strip().strip('"')
    # ssh takes `~` from the passwd file; we take it from HOME, as every other program does.
    return home / text[2:] if text.startswith("~/") else Path(text.replace("%d", str(home)))


def _login_name() -> str:
    return getpass.getuser()
