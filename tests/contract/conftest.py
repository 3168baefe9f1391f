"""The places the one suite runs over: this computer by pipes, and a real sshd."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import OrchError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.local import LocalTransport, plain_environment
from orchestrator.remote.streams import Transport
from tests.harness.ssh_place import SshPlace
from tests.harness.waiting import wait_until

PROFILE: dict[str, Any] = {"name": "generic", "identity": None, "root": None, "conda_roots": []}


class Place:
    """One host with a HOME of its own.

    Args:
        kind: `local` or `ssh`.
        folder: holds everything of it.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.home = folder / "home"
        self.home.mkdir()
        self._links: list[AgentLink] = []
        self._transports: list[Transport] = []
        self._ssh = SshPlace(folder, self.home) if kind == "ssh" else None

    def transport(self) -> Transport:
        """Connect."""
        made: Transport
        made = self._ssh.transport() if self._ssh else LocalTransport("gpu1", plain_environment(str(self.home)))
        self._transports.append(made)
        return made

    def link(self, **options: Any) -> AgentLink:
        """Connect and bring up the agent; closed at the test's end."""
        link = AgentLink.open("gpu1", self.transport(), **{"profile": PROFILE, **options})
        self._links.append(link)
        return link

    def break_line(self, link: AgentLink) -> None:
        """Lose the connection under an open link."""
        if self._ssh:
            self._ssh.proxy.cut()
            return
        os.kill(link.hello["pid"], signal.SIGKILL)

    def close(self) -> None:
        """Close everything and see that nothing is left."""
        pids = self._keepers()
        for link in self._links:
            link.close()
        for transport in self._transports:
            transport.close()
        if self._ssh:
            self._ssh.close()
        for pid in pids:
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), 15, f"keeper {pid} ended by itself")  # type: ignore[misc]

    def _keepers(self) -> list[int]:
        for link in self._links:
            if link.is_alive():
                try:
                    keeper = link.status()["keeper"]
                except OrchError:
                    continue
                return [keeper["pid"]] if keeper["alive"] and keeper["pid"] else []
        return []


@pytest.fixture(params=["local", "ssh"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    before = set(threading.enumerate())
    made = Place(request.param, tmp_path)
    yield made
    made.close()
    wait_until(lambda: set(threading.enumerate()) <= before, 5, "threads ended")


@pytest.fixture
def link(place: Place) -> AgentLink:
    return place.link()
