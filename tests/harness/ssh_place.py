"""A real sshd with a HOME of its own, a proxy before it, and orch's own SSH transport through both."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from orchestrator.loopback import LoopbackHost, make_key
from orchestrator.remote.asker import SilentAsker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import KnownHosts
from orchestrator.remote.ssh import SshTransport
from orchestrator.remote.ssh_config import Resolved
from tests.harness.proxy import Proxy


class SshPlace:
    """One host reached by SSH. A context manager.

    Args:
        folder: for keys, configuration and known hosts.
        home: HOME of whoever logs in.
        config: further lines of sshd_config.
        env: further variables of the login.
    """

    def __init__(
        self, folder: Path, home: Path, config: Iterable[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self._key = folder / "client_key"
        public = make_key(self._key)
        self.host = LoopbackHost(folder / "sshd", home, [public], config=config, env=dict(env or {})).start()
        self.proxy = Proxy(("127.0.0.1", self.host.port))
        known = folder / "known_hosts"
        known.write_text(f"gpu1 {self.host.public_key()}\n")
        self._dialer = Dialer(KnownHosts(known), SilentAsker())

    def transport(self) -> SshTransport:
        """Log in."""
        where = Resolved(
            alias="gpu1",
            host="127.0.0.1",
            port=self.proxy.port,
            user=getpass.getuser(),
            identity_files=(self._key,),
            identities_only=True,
            identity_agent="none",
            key_name="gpu1",
        )
        return SshTransport("gpu1", self._dialer.connect(where, "gpu1"), where)

    def close(self) -> None:
        """End proxy and server."""
        self._dialer.close()
        self.proxy.stop()
        self.host.stop()

    def __enter__(self) -> SshPlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
