"""Host keys: orch's own known_hosts beside the user's, checked for the target and for every hop. No automatic trust."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

from orchestrator.errors import HostKeyError
from orchestrator.remote.asker import Asker
from orchestrator.remote.ssh_config import Resolved

FILE_NAME = "known_hosts"
LOCK_SECONDS = 5.0
"""A lock file older than what writing takes was left by somebody who died."""


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as OpenSSH prints it: SHA256:…"""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class KnownHosts:
    """The files of known hosts.

    Args:
        own: orch's file; new keys are written there.
        others: the user's files; only read.
    """

    own: Path
    others: tuple[Path, ...] = ()

    def lookup(self, name: str) -> list[paramiko.PKey]:
        """Return the keys on record for a name, orch's own first: a key of ours replaces one of the user's."""
        mine = list(_keys([self.own], name))
        return mine or list(_keys(self.others, name))

    def revoked(self, key: paramiko.PKey) -> bool:
        """Return whether a file marks the key @revoked."""
        text = key.get_base64()
        return any(line.startswith("@revoked") and text in line for line in _lines([self.own, *self.others]))

    def add(self, name: str, key: paramiko.PKey, *, replace: bool = False) -> None:
        """Write a key down in orch's file; others may do the same at this moment.

        Args:
            replace: forget the other keys of that name there.
        """
        line = f"{name} {key.get_name()} {key.get_base64()}"
        self.own.parent.mkdir(parents=True, exist_ok=True)
        with _one_writer(self.own.with_name(self.own.name + ".lock")):
            kept = list(_lines([self.own]))
            if replace:
                kept = [one for one in kept if not _names(one, name)]
            if line in kept:
                return
            temporary = self.own.with_name(self.own.name + ".new")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write("\n".join([*kept, line]) + "\n")
            temporary.replace(self.own)


@contextlib.contextmanager
def _one_writer(lock: Path) -> Iterator[None]:
    """Hold a lock file: its being there is the lock, on every system; one that a dead writer left is taken over."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            break
        except (FileExistsError, PermissionError):
            # PermissionError: Windows says so of a file that is being removed.
            if time.monotonic() > until or _age(lock) > LOCK_SECONDS:
                break
        time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _lines(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        try:
            yield from path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            continue


def _keys(files: Iterable[Path], name: str) -> Iterator[paramiko.PKey]:
    for line in _lines(files):
        if line.strip() and line[:1] not in "#@" and _names(line, name):
            entry = _entry(line)
            if entry is not None and entry.key is not None:
                yield entry.key


def _entry(line: str) -> HostKeyEntry | None:
    try:
        return HostKeyEntry.from_line(line)
    except (paramiko.SSHException, ValueError, IndexError):
        return None


def _names(line: str, name: str) -> bool:
    """Whether a line is about a host: by its name, hashed, or by a pattern (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    found = False
    for word in (line.split() or [""])[0].split(","):
        if word.startswith("|1|"):
            # paramiko asserts that a salt has its length.
            with contextlib.suppress(ValueError, AssertionError):
                found |= paramiko.HostKeys.hash_host(name, word) == word
        elif word.startswith("!"):
            if _matches(name, word[1:]):
                return False
        else:
            found |= _matches(name, word)
    return found


def _matches(name: str, pattern: str) -> bool:
    # Brackets are part of a name with a port; only * and ? stand for something else.
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.fullmatch("".join(parts), name, re.IGNORECASE) is not None


class Checker(paramiko.MissingHostKeyPolicy):
    """Decides on the key a host shows; used for the target and for each hop.

    Args:
        where: the login.
        known: the files.
        asker: asked about a key met for the first time.
        name: the host's name in the inventory, for the commands in hints.
        jump: it is a jump host on the way to that host.
    """

    def __init__(self, where: Resolved, known: KnownHosts, asker: Asker, name: str, *, jump: bool = False) -> None:
        self._where = where
        self._known = known
        self._asker = asker
        self._name = name
        self._what = f"the jump host {where.alias}, {where.key_entry}," if jump else where.key_entry

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        """Return when the key may be trusted.

        Raises:
            HostKeyError: it changed, is revoked, or is new and nobody said yes.
        """
        entry = self._where.key_entry
        on_record = self._known.lookup(entry)
        if self._known.revoked(key):
            raise HostKeyError(
                f"{self._what} shows a host key that is marked revoked ({fingerprint(key)})",
                "Somebody else may have this key: do not log in there before its owner gave it another.",
                host=self._name,
            )
        if any(one == key for one in on_record) or self._known_without_port(key):
            return
        # Also a key of another kind is a change: the host was asked for the kind on record.
        if on_record:
            raise HostKeyError(
                f"the host key of {self._what} changed: it shows {fingerprint(key)}",
                "On rented machines a reset, another image, or a port that went to somebody else does this; "
                f"elsewhere it may be an attack.\nWhen you know why: orch host trust {self._name} --replace",
                host=self._name,
            )
        if not self._asker.trust(entry, key.get_name(), fingerprint(key)):
            raise HostKeyError(
                f"the host key of {self._what} is not known here ({key.get_name()} {fingerprint(key)})",
                f"Compare it with the provider's, then: orch host trust {self._name}, or --accept-new in scripts.",
                host=self._name,
            )
        self._known.add(entry, key)

    def _known_without_port(self, key: paramiko.PKey) -> bool:
        """As OpenSSH does for a name that stands in the user's files without a port."""
        return not self._where.key_name and any(one == key for one in self._known.lookup(self._where.host))

    def preferred_types(self) -> list[str]:
        """Return the key types on record, so that the host is asked for a key we can compare."""
        on_record = self._known.lookup(self._where.key_entry) or self._known.lookup(self._where.host)
        return [key.get_name() for key in on_record]
