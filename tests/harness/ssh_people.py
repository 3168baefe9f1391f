"""Who sits at the laptop's side of SSH: somebody who answers questions, and a real ssh-agent."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from orchestrator.loopback import make_key
from tests.harness.waiting import wait_until


class Person:
    """Answers the transport's questions (see Asker) and remembers which were asked.

    Args:
        trusts: the answer to "trust this key?".
        password, passphrase: what is typed; None = nothing.
    """

    def __init__(self, *, trusts: bool = False, password: str | None = None, passphrase: str | None = None) -> None:
        self.trusts = trusts
        self._password = password
        self._passphrase = passphrase
        self._guard = threading.Lock()
        self.asked: list[str] = []

    def trust(self, host: str, key_type: str, fingerprint: str) -> bool:
        """See Asker."""
        self._note(f"trust {host}")
        return self.trusts

    def password(self, host: str, user: str) -> str | None:
        """See Asker."""
        self._note(f"password {user}@{host}")
        return self._password

    def passphrase(self, path: str) -> str | None:
        """See Asker."""
        self._note(f"passphrase {path}")
        return self._passphrase

    def _note(self, question: str) -> None:
        with self._guard:
            self.asked.append(question)


class SshAgent:
    """A real ssh-agent on a socket of its own. A context manager.

    Attributes:
        socket: for IdentityAgent or SSH_AUTH_SOCK.
    """

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "agent"
        self._process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(self.socket)], stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(self.socket.exists, 10, "the agent's socket")

    def add(self, *keys: Path) -> None:
        """Give it private keys; a certificate beside one is left out."""
        environment = {"SSH_AUTH_SOCK": str(self.socket), "PATH": os.environ["PATH"]}
        argv = ["ssh-add", "-q", "-k", *map(str, keys)]
        subprocess.run(argv, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def __enter__(self) -> SshAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)


def lock_key(path: Path, passphrase: str) -> Path:
    """Give a private key a passphrase."""
    _keygen("-p", "-P", "", "-N", passphrase, "-f", str(path))
    return path


def sign_key(authority: Path, public: Path, principal: str) -> Path:
    """Sign a public key with the key of an authority; return the certificate beside it."""
    _keygen("-s", str(authority), "-I", "test", "-n", principal, "-V", "-1h:+1h", str(public))
    return public.with_name(public.name.removesuffix(".pub") + "-cert.pub")


def make_keys(folder: Path, count: int) -> list[Path]:
    """Make several keys that open nothing."""
    keys = [folder / f"other_{number}" for number in range(count)]
    for key in keys:
        make_key(key)
    return keys


def _keygen(*words: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)
