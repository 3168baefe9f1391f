"""Real hosts of every kind a person may have: login shells, noisy rc files, bare PATHs, passwords, far away."""

from __future__ import annotations

import getpass
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from orchestrator.loopback import BARE_PATH, LoopbackHost, make_key
from orchestrator.remote.ssh_config import Resolved
from tests.harness.cli import Laptop
from tests.harness.proxy import Proxy
from tests.harness.users import SystemUser

RC_FILES = {"bash": ".bashrc", "zsh": ".zshenv", "fish": ".config/fish/config.fish", "tcsh": ".tcshrc"}
VERBOSE = "LogLevel VERBOSE"
"""Makes sshd log every key that is offered."""
PASSWORD_ONLY = ("PubkeyAuthentication no", "PasswordAuthentication yes")


@dataclass
class RealHost:
    """A real sshd with a HOME of its own, reached with a key of its own. A context manager.

    Args:
        folder: for everything of it.
        shell: name of the login shell; "" = that of whoever runs the tests.
        rc: what stands in that shell's rc file.
        path: PATH of whoever logs in.
        config: further lines of sshd_config.
        user: who logs in; None = whoever runs the tests.
        delay: seconds each direction of the line takes.
        env: further variables of the login.

    Attributes:
        key: the private key that opens it.
        server: the sshd.
        port: where to connect; the proxy's.
        proxy: the line to it, which can be cut.
    """

    folder: Path
    shell: str = ""
    rc: str = ""
    path: str = BARE_PATH
    config: Sequence[str] = ()
    user: SystemUser | None = None
    delay: float = 0.0
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.user.home if self.user else self.folder / "host-home"
        self.key = self.folder / "client_key"
        lines, env = list(self.config), dict(self.env)
        if self.shell and not self.user:
            place = shutil.which(self.shell)
            assert place, f"{self.shell} is not installed"
            # What sshd does with a login shell, for a user who has another one.
            lines.append(f'ForceCommand exec {place} -c "$SSH_ORIGINAL_COMMAND"')
            env["SHELL"] = place
        self.server = LoopbackHost(
            self.folder / "sshd", self.home, [make_key(self.key)], path=self.path, config=lines, env=env
        )

    def __enter__(self) -> RealHost:
        if self.rc:
            name = RC_FILES[self.shell or "bash"]
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).write_text(self.rc, encoding="utf-8")
        self.server.start()
        self.proxy = Proxy(("127.0.0.1", self.server.port), delay=self.delay)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.proxy.stop()
        self.server.stop()

    @property
    def port(self) -> int:
        """Where to connect."""
        return self.proxy.port

    @property
    def login(self) -> str:
        """The login line, as a person would write it down."""
        key = "" if self.user else f"-i {self.key} "
        return f"ssh -p {self.port} {key}{self.user_name}@127.0.0.1"

    @property
    def user_name(self) -> str:
        """Who logs in."""
        return self.user.name if self.user else getpass.getuser()

    def known_line(self, name: str = "") -> str:
        """Return the line of known_hosts for it."""
        return f"{name or f'[127.0.0.1]:{self.port}'} {self.server.public_key()}\n"

    def resolved(self, alias: str = "box") -> Resolved:
        """Return the login with its key and no agent."""
        return Resolved(
            alias=alias, host="127.0.0.1", port=self.port, user=self.user_name, identity_files=(self.key,),
            identities_only=True, identity_agent="none",
        )  # fmt: skip

    def laptop(self, known: bool = True) -> Laptop:
        """Return a laptop beside it.

        Args:
            known: its key is on record there.
        """
        laptop = Laptop(self.folder / "home", self.folder / "project")
        orch_home = laptop.home / "orch"
        orch_home.mkdir(mode=0o700, exist_ok=True)
        if known:
            (orch_home / "known_hosts").write_text(self.known_line(), encoding="utf-8")
        return laptop


def path_without_python(folder: Path) -> str:
    """Make a folder of the system's programs without any Python; return it as a PATH."""
    folder.mkdir()
    for place in map(Path, BARE_PATH.split(":")):
        for program in place.iterdir():
            if "python" not in program.name and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def miniconda(home: Path) -> Path:
    """Make a prefix in the shape of a Miniconda in a HOME; return its Python."""
    python = home / "miniconda3" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (home / "miniconda3" / "conda-meta").mkdir()
    real = Path(sys.executable).resolve()
    # A script: a symlink would be asked where it leads to, and that Python has its own prefix.
    python.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python
