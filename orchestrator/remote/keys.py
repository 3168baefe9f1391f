"""The keys a login may offer: those of an agent, key files and certificates, in the order in which they are tried."""

from __future__ import annotations

import base64
import binascii
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
from paramiko.agent import Agent, AgentSSH
from paramiko.message import Message
from paramiko.pkey import PublicBlob

from orchestrator.remote.ssh_config import Resolved

_OPENSSH = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_BROKEN = (paramiko.SSHException, ValueError, OSError, paramiko.pkey.UnknownKeyType)
# cryptography says TypeError of a key that needs a passphrase, paramiko's own parsers PasswordRequiredException.
_LOCKED = (paramiko.PasswordRequiredException, TypeError)


class WrongPassphrase(Exception):
    """A passphrase does not open its key."""


class _SocketAgent(AgentSSH):
    """The agent behind a socket named by IdentityAgent; paramiko's own class knows SSH_AUTH_SOCK only."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        self._connect(connection)  # type: ignore[attr-defined]  # missing in the stubs
        # A signature may wait for a finger on a security key.
        connection.settimeout(60)

    def close(self) -> None:
        """Close the connection."""
        self._close()  # type: ignore[attr-defined]  # missing in the stubs


class Keys:
    """What one login may offer. Close it after the login.

    Args:
        where: the login.
        passphrase: asked for the passphrase of a key file; None = nobody can tell it.

    Attributes:
        unused: why keys were left out, for people.
    """

    def __init__(self, where: Resolved, passphrase: Callable[[Path], str | None]) -> None:
        self._where = where
        self._passphrase = passphrase
        self._agent: Agent | _SocketAgent | None = None
        self.unused: list[str] = []

    def offers(self) -> Iterator[paramiko.PKey]:
        """Yield the keys in order. Each is valid until the next one is taken: a key comes once for each certificate.

        Agent keys come first, those named by IdentityFile before others; then files, those that need a passphrase last.

        Raises:
            WrongPassphrase: naming the file.
        """
        files = self._where.identity_files
        named = [text for path in files if (text := public_half(path))]
        certificates = [blob for path in self._certificate_files() if (blob := _certificate(path))]
        held = [key for key in self._agent_keys() if key.get_base64() in named or not self._where.identities_only]
        held.sort(key=lambda key: named.index(key.get_base64()) if key.get_base64() in named else len(named))
        for key in held:
            yield from _with_certificates(key, certificates)
        in_agent = {key.get_base64() for key in held}
        locked = []
        for path in files:
            if public_half(path) in in_agent or _is_public(_text(path)):
                continue
            try:
                yield from _with_certificates(_read(path, None), certificates)
            except _LOCKED:
                locked.append(path)
            except _BROKEN as error:
                self._leave_out(path, error)
        for path in locked:
            yield from self._unlock(path, certificates)

    def close(self) -> None:
        """Close the connection to the agent."""
        if self._agent is not None:
            self._agent.close()

    def _unlock(self, path: Path, certificates: list[PublicBlob]) -> Iterator[paramiko.PKey]:
        phrase = self._passphrase(path)
        if not phrase:
            self.unused.append(f"{path} needs its passphrase, and nobody is here to type it")
            return
        try:
            key = _read(path, phrase)
        except (*_LOCKED, *_BROKEN):
            raise WrongPassphrase(str(path)) from None
        yield from _with_certificates(key, certificates)

    def _leave_out(self, path: Path, error: Exception) -> None:
        if path.exists():
            why = error if isinstance(error, OSError) else "it is no private key that can be read"
            self.unused.append(f"{path}: {why}")

    def _certificate_files(self) -> Iterator[Path]:
        yield from self._where.certificates
        for path in self._where.identity_files:
            # As OpenSSH does, for the key's name and for that of its public half.
            yield path.with_name(path.name.removesuffix(".pub") + "-cert.pub")

    def _agent_keys(self) -> tuple[paramiko.AgentKey, ...]:
        path = self._where.identity_agent
        if path == "none":
            return ()
        if path.startswith("$"):
            path = os.environ.get(path.strip("${}"), "")
        try:
            named = path not in ("", "SSH_AUTH_SOCK")
            self._agent = _SocketAgent(str(Path(path).expanduser())) if named else Agent()
            return tuple(self._agent.get_keys())
        except (paramiko.SSHException, OSError):
            self.unused += [f"the agent {path} does not answer"] if path not in ("", "SSH_AUTH_SOCK") else []
            return ()


def public_half(path: Path) -> str:
    """Return the public key of a key file in base64: from itself, from the `.pub` beside it; "" when it cannot be told.

    A private key in OpenSSH's own format carries its public half in clear, also when it has a passphrase.
    """
    for text in (_text(path), _text(path.with_name(path.name + ".pub"))):
        if _is_public(text):
            return text.split()[1]
        found = _OPENSSH.search(text)
        if not found:
            continue
        try:
            data = base64.b64decode("".join(found[1].split()), validate=True)
        except binascii.Error:
            continue
        if data.startswith(_OPENSSH_MAGIC):
            message = Message(data[len(_OPENSSH_MAGIC) :])
            for _ in ("cipher", "kdf", "kdf options"):
                message.get_binary()
            message.get_int()
            return base64.b64encode(message.get_binary()).decode()
    return ""


def _is_public(text: str) -> bool:
    words = text.split(None, 2)
    return len(words) > 1 and words[0].startswith(("ssh-", "ecdsa-", "sk-"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read(path: Path, passphrase: str | None) -> paramiko.PKey:
    # The stubs say text; the code wants bytes.
    key = paramiko.PKey.from_path(path, passphrase.encode() if passphrase else None)  # type: ignore[arg-type]
    # A certificate found beside the file would hide the key itself; certificates are offered by us.
    key.public_blob = None
    return key


def _certificate(path: Path) -> PublicBlob | None:
    text = _text(path)
    try:
        blob = PublicBlob.from_string(text) if text else None
    except (ValueError, paramiko.SSHException):
        return None
    return blob if blob and "-cert-" in blob.key_type else None


def _with_certificates(key: paramiko.PKey, certificates: list[PublicBlob]) -> Iterator[paramiko.PKey]:
    for certificate in certificates:
        if _is_for(certificate, key):
            key.public_blob = certificate
            yield key
    key.public_blob = None
    yield key


def _is_for(certificate: PublicBlob, key: paramiko.PKey) -> bool:
    # PROTOCOL.certkeys: type, nonce, then the parts of the plain key that follow its type.
    signed, plain = Message(certificate.key_blob), Message(key.asbytes())
    kind = signed.get_text()
    signed.get_binary()
    return kind.startswith(plain.get_text() + "-cert") and signed.get_remainder().startswith(plain.get_remainder())
