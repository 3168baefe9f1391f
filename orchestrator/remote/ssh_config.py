"""What ssh_config says of a login. OpenSSH itself is asked (`ssh -G`): paramiko's parser ignores Include, takes
`ProxyJump none` for a host, and counts Match criteria it does not know as true."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import paramiko

from orchestrator.errors import HostError, UsageError
from orchestrator.remote.target import SshTarget

if sys.platform != "win32":
    import pwd

DEFAULT_PORT = 22
RESOLVE_TIMEOUT = 15.0
KNOWN_HOSTS = ("userknownhostsfile", "globalknownhostsfile")
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class Resolved:
    """A login with everything looked up.

    Args:
        alias: what the person typed; names the host in messages.
        identity_files: keys to try; of some only the public half is there, for an agent's keys.
        identity_agent: socket of the agent; "" = the environment's, "none" = no agent.
        key_name: name under which the host key is kept (HostKeyAlias), "" = the host's.
        certificates: certificates to show with the keys they are for.
        known_hosts: the user's files and the system's, only read.
        jumps: the hops before it, outermost first.
        proxy_command: a program that carries the connection, "" = none; its tokens are filled in.
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
    return _Resolver(config or home / ".ssh" / "config", home).resolve(target)


def read_config(target: SshTarget, config: Path) -> dict[str, list[str]]:
    """Return what a config says of a target: by option in small letters, each value as it stands there."""
    return _ask_ssh(target, config) if shutil.which("ssh") else _parse(target, config)


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


class _Resolver:
    """Resolves one login and the hops before it.

    Args:
        config: an ssh_config.
        home: what `~` means.
    """

    def __init__(self, config: Path, home: Path) -> None:
        self._config = config
        self._home = home
        self._way: list[str] = []

    def resolve(self, target: SshTarget) -> Resolved:
        """See `resolve`."""
        if target.host in self._way:
            circle = " -> ".join([*self._way, target.host])
            raise UsageError(f"ProxyJump leads in a circle: {circle}", f"Mend {self._config}: Host * !{target.host}.")
        self._way.append(target.host)
        try:
            return self._build(target, read_config(target, self._config))
        finally:
            self._way.pop()

    def _build(self, target: SshTarget, values: dict[str, list[str]]) -> Resolved:
        home = self._home

        def one(name: str, default: str = "") -> str:
            found = values.get(name, [default])[0]
            return default if found.lower() == "none" else found

        host = one("hostname", target.host)
        port = target.port or int(one("port", str(DEFAULT_PORT)))
        user = target.user or one("user") or _login_name()
        tokens = {"h": host, "n": target.host, "p": str(port), "r": user, "d": str(home), **_myself()}

        typed = [_path(path, {"d": str(home)}, home) for path in target.identity_files]
        missing = [path for path in typed if not _usable(path)]
        if missing:
            raise UsageError(f"the key file {missing[0]} is not there", "Check the -i of the host's login line.")
        listed = _paths(values.get("identityfile", [f"~/.ssh/{name}" for name in DEFAULT_KEYS]), tokens, home)
        known = [word for name in KNOWN_HOSTS for line in values.get(name, []) for word in _words(line)]
        timeout = one("connecttimeout")
        jumps = self._jumps(_fill(one("proxyjump"), tokens))
        return Resolved(
            alias=target.host,
            host=host,
            port=port,
            user=user,
            identity_files=tuple(dict.fromkeys([*typed, *filter(_usable, listed)])),
            identities_only=one("identitiesonly") == "yes" or bool(typed),
            identity_agent=_agent(values.get("identityagent", [""])[0], tokens, home),
            certificates=tuple(_paths(values.get("certificatefile", []), tokens, home)),
            key_name=one("hostkeyalias"),
            known_hosts=tuple(_paths(known or ["~/.ssh/known_hosts"], tokens, home)),
            jumps=jumps,
            proxy_command="" if jumps else _fill(one("proxycommand"), tokens),
            connect_timeout=float(timeout) if timeout.isdigit() and int(timeout) > 0 else 10.0,
        )

    def _jumps(self, text: str) -> tuple[Resolved, ...]:
        hops: list[Resolved] = []
        for word in filter(None, (part.strip() for part in text.split(","))):
            user, _, place = word.removeprefix("ssh://").rpartition("@")
            found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", place)
            if not found:
                raise UsageError(f"{word!r} is not a jump host", "Write user@host:port.")
            host, port = found[1] or found[3], found[2] or found[4]
            if host.startswith("-"):
                raise UsageError(f"{word!r} is not a jump host", "Write user@host:port.")
            hop = self.resolve(SshTarget(host, int(port) if port else None, user or None))
            # A hop that is itself behind hops brings them along, as OpenSSH does for the first one.
            hops += [*(hop.jumps if not hops else ()), hop]
        return tuple(hops)


def _usable(path: Path) -> bool:
    # Of a key that only an agent holds, the public half may be all there is.
    return path.exists() or path.with_name(path.name + ".pub").exists()


def _words(line: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)]


def _fill(text: str, tokens: dict[str, str]) -> str:
    """Replace %-tokens in one pass: what a token stands for is not looked at again, and %% is a percent sign."""
    return re.sub(r"%(.)", lambda found: {"%": "%", **tokens}.get(found[1], found[0]), text)


def _paths(words: Iterable[str], tokens: dict[str, str], home: Path) -> list[Path]:
    return [_path(word, tokens, home) for word in words if word.lower() != "none"]


def _path(text: str, tokens: dict[str, str], home: Path) -> Path:
    path = Path(_fill(text.strip().strip('"'), tokens))
    # ssh takes `~` from the passwd file; we take it from HOME, as every other program does.
    for start in (Path("~"), _passwd_home() or home):
        if path.is_relative_to(start):
            return home / path.relative_to(start)
    return path


def _agent(text: str, tokens: dict[str, str], home: Path) -> str:
    if text.lower() == "none":
        return "none"
    return text if text in ("", "SSH_AUTH_SOCK") or text.startswith("$") else str(_path(text, tokens, home))


def _passwd_home() -> Path | None:
    if sys.platform == "win32":
        return None
    try:
        found = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a container's user without an entry
        return None
    return found if len(found.parts) > 1 else None


def _login_name() -> str:
    return getpass.getuser()


def _myself() -> dict[str, str]:
    """The tokens about who runs this."""
    return {"u": _login_name(), "i": str(os.getuid()) if sys.platform != "win32" else ""}
