"""Host keys: orch's own known_hosts beside the user's, checked for the target and for every hop. No automatic trust."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

from orchestrator.errors import HostKeyError
from orchestrator.remote.asker import Asker
from orchestrator.remote.ssh_config import Resolved

FILE_NAME = "known_hosts"


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
        """Write a key down in orch's file.

        Args:
            replace: forget the other keys of that name there.
        """
        kept = [] if not self.own.exists() else self.own.read_text(encoding="utf-8").splitlines()
        if replace:
            kept = [line for line in kept if not _names(line, name)]
        line = f"{name} {key.get_name()} {key.get_base64()}"
        temporary = self.own.with_name(self.own.name + f".{os.getpid()}")
        self.own.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join([*kept, line]) + "\n")
        temporary.replace(self.own)


def _lines(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        try:
            yield from path.read_text(encoding="utf-8", errors="replace").splitlines()
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
    words = line.split()
    if not words:
        return False
    for word in words[0].split(","):
        if word == name:
            return True
        if word.startswith("|1|") and paramiko.HostKeys.hash_host(name, word) == word:
            return True
    return False


class Checker(paramiko.MissingHostKeyPolicy):
    """Decides on the key a host shows; used for the target and for each hop.

    Args:
        where: the login.
        known: the files.
        asker: asked about a key met for the first time.
        name: the host's name in the inventory, for the commands in hints.
    """

    def __init__(self, where: Resolved, known: KnownHosts, asker: Asker, name: str) -> None:
        self._where = where
        self._known = known
        self._asker = asker
        self._name = name

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        """Return when the key may be trusted.

        Raises:
            HostKeyError: it changed, is revoked, or is new and nobody said yes.
        """
        entry = self._where.key_entry
        on_record = self._known.lookup(entry)
        if self._known.revoked(key):
            raise HostKeyError(f"{entry} shows a host key that is marked revoked ({fingerprint(key)})", host=self._name)
        if any(one == key for one in on_record):
            return
        if any(one.get_name() == key.get_name() for one in on_record):
            raise HostKeyError(
                f"the host key of {entry} changed: it shows {fingerprint(key)}",
                "On rented machines a reset, another image, or a port that went to somebody else does this; "
                f"elsewhere it may be an attack.\nWhen you know why: orch host trust {self._name} --replace",
                host=self._name,
            )
        if not self._asker.trust(entry, key.get_name(), fingerprint(key)):
            raise HostKeyError(
                f"the host key of {entry} is not known here ({key.get_name()} {fingerprint(key)})",
                f"Compare it with the provider's, then: orch host trust {self._name}, or --accept-new in scripts.",
                host=self._name,
            )
        self._known.add(entry, key)

    def preferred_types(self) -> list[str]:
        """Return the key types on record, so that the host is asked for a key we can compare."""
        return [key.get_name() for key in self._known.lookup(self._where.key_entry)]
