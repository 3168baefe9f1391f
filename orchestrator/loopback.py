"""A real OpenSSH server on a free loopback port, with keys and a HOME of its own: for the demo and for the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from orchestrator.errors import HostError

SSHD_PLACES = ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/opt/homebrew/sbin/sshd")
BARE_PATH = "/usr/bin:/bin"
START_SECONDS = 10.0
TRIES = 5


def find_sshd() -> str:
    """Return the path of an OpenSSH server (sshd insists on being started by its absolute path).

    Raises:
        HostError: there is none.
    """
    for place in (shutil.which("sshd"), *SSHD_PLACES):
        if place and os.access(place, os.X_OK):
            return str(Path(place).resolve())
    raise HostError("no OpenSSH server is installed here", "Debian, Ubuntu: apt-get install openssh-server")


def make_key(path: Path) -> str:
    """Make an ed25519 key pair without passphrase where there is none; return the public line.

    Made here, not by ssh-keygen, which not every laptop has. Of a key that is there already the public half is
    written again when it is missing.
    """
    public = path.with_name(path.name + ".pub")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Ed25519PrivateKey.generate()
        _write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    if not public.exists():
        loaded = load_ssh_private_key(path.read_bytes(), None).public_key()
        public.write_bytes(loaded.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" orch\n")
    return public.read_text(encoding="utf-8").strip()


def _write_new(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


@dataclass
class LoopbackHost:
    """One sshd. Everything it needs lies in `folder`; `start` it, `stop` it.

    Args:
        folder: for keys, configuration and log.
        home: HOME of whoever logs in.
        authorized: public key lines that may log in.
        path: PATH of whoever logs in.
        config: further lines of sshd_config, before the others (the first value counts).
        env: further variables of the login.
    """

    folder: Path
    home: Path
    authorized: Iterable[str] = ()
    path: str = BARE_PATH
    config: Iterable[str] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> LoopbackHost:
        """Start the server and return when it answers.

        Raises:
            HostError: there is no sshd, or it does not start (with its own words).
        """
        sshd = find_sshd()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_key(self.folder / "host_key")
        (self.folder / "authorized_keys").write_text("\n".join(self.authorized) + "\n", encoding="utf-8")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # sshd started by root wants this folder; Debian makes it only when the service starts.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(TRIES):
            self.port = self.port or _free_port()
            if self._try(sshd):
                return self
            self.port = 0
        raise HostError("sshd did not start", self.log()[-500:])

    def _try(self, sshd: str) -> bool:
        (self.folder / "sshd_config").write_text(self._text(), encoding="utf-8")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                probe.settimeout(2.0)
                if probe.recv(4) == b"SSH-":
                    return True
            time.sleep(0.02)
        self.stop()
        return False

    def _text(self) -> str:
        variables = {"HOME": str(self.home), "PATH": self.path, **self.env}
        quoted = " ".join(f'"{name}={value}"' for name, value in variables.items())
        return "\n".join(
            [
                *self.config,
                f"Port {self.port}",
                "ListenAddress 127.0.0.1",
                f'HostKey "{self.folder / "host_key"}"',
                f'AuthorizedKeysFile "{self.folder / "authorized_keys"}"',
                "PubkeyAuthentication yes",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin yes",
                "StrictModes no",
                "UsePAM no",
                "PidFile none",
                "PrintMotd no",
                f"SetEnv {quoted}",
                "",
            ]
        )

    def public_key(self) -> str:
        """Return type and key of the server's host key, as they stand in known_hosts."""
        words = (self.folder / "host_key.pub").read_text(encoding="utf-8").split()
        return f"{words[0]} {words[1]}"

    def log(self) -> str:
        """Return what the server logged."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def sessions(self) -> list[int]:
        """Return the pids of connections being served (Linux)."""
        if self._process is None:
            return []
        try:
            text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        except OSError:
            return []
        return [int(word) for word in text.split()]

    def drop(self) -> None:
        """End every connection at once, as a cut line would; the server goes on."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the server and its connections; jobs started through them go on."""
        if self._process is None:
            return
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> LoopbackHost:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def supported() -> bool:
    """Return whether a server can be started on this kind of system."""
    return sys.platform != "win32"
