"""A laptop with one host in its inventory, reached by SSH through a proxy that can break the line."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from orchestrator.loopback import LoopbackHost, make_key
from tests.harness.cli import Laptop
from tests.harness.proxy import Proxy


class SshLaptop:
    """A context manager.

    Args:
        folder: for the laptop, the server's files and the host's HOME.
        known: False leaves the host's key unknown to the laptop.
        config: further lines of sshd_config.
    """

    NAME = "box"

    def __init__(self, folder: Path, *, known: bool = True, config: Iterable[str] = ()) -> None:
        self.laptop = Laptop(folder / "home", folder / "project")
        key = folder / "client_key"
        self.host_home = folder / "host-home"
        self.host = LoopbackHost(folder / "sshd", self.host_home, [make_key(key)], config=config).start()
        self.proxy = Proxy(("127.0.0.1", self.host.port))
        orch_home = self.laptop.home / "orch"
        orch_home.mkdir(mode=0o700, exist_ok=True)
        if known:
            line = f"[127.0.0.1]:{self.proxy.port} {self.host.public_key()}\n"
            (orch_home / "known_hosts").write_text(line, encoding="utf-8")
        user = pwd.getpwuid(os.getuid()).pw_name
        self.login = f"ssh -p {self.proxy.port} -i {shlex.quote(str(key))} {user}@127.0.0.1"
        self.laptop.orch("host", "add", self.NAME, self.login, "--no-check")

    def go(self) -> None:
        """Let jobs that wait for ~/go go on."""
        (self.host_home / "go").touch()

    def __enter__(self) -> SshLaptop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go()
        self.proxy.stop()
        self.host.stop()
