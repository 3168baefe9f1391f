"""Logging in: agent keys, key files, passwords, in the order OpenSSH would; a refusal is never tried again."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import paramiko
from keyring.errors import KeyringError
from paramiko.agent import Agent, AgentSSH

from orchestrator.errors import AuthenticationError
from orchestrator.remote.asker import Asker
from orchestrator.remote.ssh_config import Resolved

SERVICE = "orch"


class Memory:
    """What the person answered during this run, so that nobody is asked twice."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.passphrases: dict[str, str] = {}
        self.asked: set[str] = set()


class _SocketAgent(AgentSSH):
    """The agent behind a socket named by IdentityAgent; paramiko's own class knows SSH_AUTH_SOCK only."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5)
        connection.connect(path)
        self._connect(connection)  # type: ignore[attr-defined]  # missing in the stubs


class Login:
    """Authenticates one transport; given to paramiko as its auth strategy.

    Args:
        where: the login.
        name: the host's name in the inventory.
        asker: asked for passwords and passphrases.
        memory: what was answered before in this run.
    """

    def __init__(self, where: Resolved, name: str, asker: Asker, memory: Memory) -> None:
        self._where = where
        self._name = name
        self._asker = asker
        self._memory = memory
        self._bad_keys: list[str] = []

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Log in.

        Raises:
            AuthenticationError: the host takes nothing of what there is; says what it would take.
        """
        given = self._given_password()
        try:
            allowed = self._allowed(transport)
            if given is None and "publickey" in allowed:
                for key in self._keys():
                    if self._try(transport, lambda key=key: transport.auth_publickey(self._where.user, key)):  # type: ignore[misc]
                        return []
            if not transport.is_authenticated() and {"password", "keyboard-interactive"} & set(allowed):
                self._password(transport, given, allowed)
        except paramiko.AuthenticationException:
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._denied(f"it ended the login ({error}): too many keys were offered, or it takes none") from error
        if not transport.is_authenticated():
            raise self._denied(f"it takes {', '.join(allowed) or 'nothing we have'}")
        return []

    def _allowed(self, transport: paramiko.Transport) -> list[str]:
        try:
            transport.auth_none(self._where.user)
        except paramiko.BadAuthenticationType as refused:
            return list(refused.allowed_types)
        except paramiko.AuthenticationException:
            return ["publickey", "password"]
        return []

    def _try(self, transport: paramiko.Transport, attempt: Callable[[], list[str]]) -> bool:
        try:
            attempt()
        except paramiko.BadAuthenticationType:
            return False
        except paramiko.AuthenticationException:
            if not transport.is_active():
                raise self._denied("it ended the login: too many keys were offered") from None
            return False
        return transport.is_authenticated()

    def _given_password(self) -> str | None:
        """A password from the environment or the keyring: with one, no key is offered (MaxAuthTries)."""
        if self._name in self._memory.passwords:
            return self._memory.passwords[self._name]
        variable = "ORCH_PASSWORD_" + re.sub(r"[^A-Z0-9]", "_", self._name.upper())
        if os.environ.get(variable):
            return os.environ[variable]
        try:
            return keyring.get_password(SERVICE, f"host:{self._name}")
        except (KeyringError, RuntimeError, OSError):
            return None

    def _password(self, transport: paramiko.Transport, given: str | None, allowed: list[str]) -> None:
        password = given
        if password is None:
            password = self._asker.password(self._where.alias, self._where.user)
            if password is None:
                return
            self._memory.asked.add(self._name)
        if "password" in allowed:
            done = self._try(transport, lambda: transport.auth_password(self._where.user, password, fallback=False))
        else:
            done = self._try(
                transport,
                lambda: transport.auth_interactive(
                    self._where.user, lambda title, text, fields: [password] * len(fields)
                ),
            )
        if not done:
            self._memory.passwords.pop(self._name, None)
            raise self._denied("it refused the password")
        self._memory.passwords[self._name] = password

    def _keys(self) -> Iterator[paramiko.PKey]:
        files = list(self._where.identity_files)
        public = {text for path in files if (text := _public_half(path))}
        for held in self._agent_keys():
            if not self._where.identities_only or held.get_base64() in public:
                yield held
        for path in files:
            key = self._load(path)
            if key is not None:
                yield key

    def _agent_keys(self) -> tuple[paramiko.AgentKey, ...]:
        path = self._where.identity_agent
        if path == "none":
            return ()
        try:
            agent = _SocketAgent(str(Path(path).expanduser())) if path not in ("", "SSH_AUTH_SOCK") else Agent()
            return tuple(agent.get_keys())
        except (paramiko.SSHException, OSError):
            return ()

    def _load(self, path: Path) -> paramiko.PKey | None:
        text = str(path)
        try:
            return _from_path(path, self._memory.passphrases.get(text))
        except paramiko.PasswordRequiredException:
            phrase = self._memory.passphrases.get(text) or self._asker.passphrase(text)
        except (paramiko.SSHException, ValueError, OSError, paramiko.pkey.UnknownKeyType) as error:
            self._bad_keys.append(f"{path}: {error}")
            return None
        if not phrase:
            self._bad_keys.append(f"{path} needs its passphrase")
            return None
        try:
            key = _from_path(path, phrase)
        except (paramiko.SSHException, ValueError, OSError):
            raise AuthenticationError(f"the passphrase of {path} is wrong", host=self._name) from None
        self._memory.passphrases[text] = phrase
        return key

    def _denied(self, why: str) -> AuthenticationError:
        where = self._where
        hints = [f"Not used: {text}" for text in self._bad_keys]
        hints.append(f"Install a key with `orch host key {self._name}`, or name one with -i in the host's line.")
        return AuthenticationError(
            f"{where.user}@{where.alias} refused the login: {why}", "\n".join(hints), host=self._name
        )


def _from_path(path: Path, passphrase: str | None) -> paramiko.PKey:
    # The stubs say text; the code wants bytes.
    return paramiko.PKey.from_path(path, passphrase.encode() if passphrase else None)  # type: ignore[arg-type]


def _public_half(path: Path) -> str:
    try:
        words = path.with_name(path.name + ".pub").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return ""
    return words[1] if len(words) > 1 else ""
