"""Logging in: agent keys, key files, passwords, in the order OpenSSH would; a refusal is never tried again."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import keyring
import paramiko
from keyring.errors import KeyringError

from orchestrator.errors import AuthenticationError
from orchestrator.remote.asker import Asker
from orchestrator.remote.keys import Keys, WrongPassphrase
from orchestrator.remote.ssh_config import Resolved

SERVICE = "orch"
_BY_PASSWORD = {"password", "keyboard-interactive"}
_MOST_STEPS = 4
"""A host may want several proofs one after the other (AuthenticationMethods); no more than this many."""


def password_variable(name: str) -> str:
    """Return the name of the environment variable that holds a host's password."""
    return "ORCH_PASSWORD_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


class Memory:
    """What the person answered during this run, so that nobody is asked twice, not even by two hosts at once."""

    def __init__(self) -> None:
        self.passwords: dict[str, str | None] = {}
        self.passphrases: dict[str, str | None] = {}
        self.asked: set[str] = set()
        self._guard = threading.Lock()
        self._asking: dict[tuple[int, str], threading.Lock] = {}

    def answer(self, kept: dict[str, str | None], key: str, ask: Callable[[], str | None]) -> str | None:
        """Return the answer to a question, asking when it has not been asked; no answer is an answer too.

        Args:
            kept: `passwords` or `passphrases`.
        """
        with self._guard:
            lock = self._asking.setdefault((id(kept), key), threading.Lock())
        with lock:
            if key not in kept:
                kept[key] = ask()
            return kept[key]


class _Same:
    """Answers every question of a keyboard-interactive login with the password."""

    def __init__(self, password: str) -> None:
        self._password = password

    def __call__(self, title: str, text: str, fields: list[tuple[str, bool]]) -> list[str]:
        return [self._password] * len(fields)


class Login:
    """Authenticates one transport; given to paramiko as its auth strategy.

    Args:
        where: the login.
        name: the host's name in the inventory; of a jump host its alias.
        asker: asked for passwords and passphrases.
        memory: what was answered before in this run.
        jump: it is a jump host, which the inventory need not know.
    """

    def __init__(self, where: Resolved, name: str, asker: Asker, memory: Memory, *, jump: bool = False) -> None:
        self._where = where
        self._name = name
        self._asker = asker
        self._memory = memory
        self._jump = jump
        self._unused: list[str] = []
        self._no_password = False

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Log in.

        Raises:
            AuthenticationError: the host takes nothing of what there is; says what it would take.
        """
        keys = Keys(self._where, self._passphrase)
        self._unused = keys.unused
        try:
            allowed = self._steps(transport, keys)
        except WrongPassphrase as error:
            self._memory.passphrases.pop(str(error), None)
            raise AuthenticationError(f"the passphrase of {error} is wrong", host=self._name) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            why = f"it ended the login ({error}): too many keys were offered, or the line broke"
            raise self._denied(why, []) from error
        finally:
            keys.close()
        if not transport.is_authenticated():
            raise self._denied(f"it takes {', '.join(allowed) or 'nothing we have'}", allowed)
        return []

    def _steps(self, transport: paramiko.Transport, keys: Keys) -> list[str]:
        """Give one proof after the other until the host is content; return what it would take where we have none."""
        allowed = self._allowed(transport)
        for _ in range(_MOST_STEPS):
            if transport.is_authenticated():
                break
            left = None
            # With a password at hand no key is offered: each would count against sshd's MaxAuthTries.
            given = self._given_password() if _BY_PASSWORD & set(allowed) else None
            if "publickey" in allowed and given is None:
                left = self._by_key(transport, keys)
            if left is None and _BY_PASSWORD & set(allowed):
                left = self._by_password(transport, given, allowed)
            if left is None:
                break
            allowed = left
        return allowed

    def _allowed(self, transport: paramiko.Transport) -> list[str]:
        try:
            transport.auth_none(self._where.user)
        except paramiko.BadAuthenticationType as refused:
            return list(refused.allowed_types)
        return []

    def _by_key(self, transport: paramiko.Transport, keys: Keys) -> list[str] | None:
        for key in keys.offers():
            left = self._attempt(transport, lambda key=key: transport.auth_publickey(self._where.user, key))  # type: ignore[misc]
            if left is not None:
                return left
        return None

    def _by_password(self, transport: paramiko.Transport, given: str | None, allowed: list[str]) -> list[str] | None:
        user = self._where.user
        password = given if given is not None else self._memory.answer(self._memory.passwords, self._name, self._ask)
        if password is None:
            self._no_password = True
            return None
        if "password" in allowed:
            left = self._attempt(transport, lambda: transport.auth_password(user, password, fallback=False))
        else:
            answers = _Same(password)
            left = self._attempt(transport, lambda: transport.auth_interactive(user, answers))
        if left is None:
            self._memory.passwords.pop(self._name, None)
            raise self._denied("it refused the password", allowed)
        self._memory.passwords[self._name] = password
        return left

    def _attempt(self, transport: paramiko.Transport, attempt: Callable[[], list[str]]) -> list[str] | None:
        """Return what the host wants besides ([] = nothing more); None when it refused."""
        try:
            return list(attempt())
        except paramiko.BadAuthenticationType:
            return None
        except paramiko.AuthenticationException:
            if not transport.is_active():
                raise
            return None

    def _given_password(self) -> str | None:
        """A password typed before in this run, from the environment or from the keyring."""
        known = self._memory.passwords.get(self._name)
        if known is not None:
            return known
        from_environment = os.environ.get(password_variable(self._name))
        if from_environment:
            return from_environment
        try:
            return keyring.get_password(SERVICE, f"host:{self._name}")
        except (KeyringError, RuntimeError, OSError):
            return None

    def _ask(self) -> str | None:
        password = self._asker.password(self._where.alias, self._where.user)
        if password is not None:
            self._memory.asked.add(self._name)
        return password

    def _passphrase(self, path: Path) -> str | None:
        text = str(path)
        return self._memory.answer(self._memory.passphrases, text, lambda: self._asker.passphrase(text))

    def _denied(self, why: str, allowed: list[str]) -> AuthenticationError:
        where = self._where
        hints = [f"Not used: {text}" for text in self._unused]
        if self._no_password:
            hints.append(f"Where nobody can type its password, set {password_variable(self._name)}.")
        if self._jump:
            hints.append(f"Name the key of this jump host in ~/.ssh/config: Host {where.alias}, IdentityFile.")
        elif "publickey" in allowed or not allowed:
            hints.append(f"Install a key with `orch host key {self._name}`, or name one with -i in the host's line.")
        who = f"{where.user}@{where.alias}" + (" (a jump host)" if self._jump else "")
        return AuthenticationError(f"{who} refused the login: {why}", "\n".join(hints), host=self._name)
