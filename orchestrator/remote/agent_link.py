"""One host, open: the agent brought up over a transport, with a typed method for everything it can do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, cast

from orchestrator.errors import UnreachableError
from orchestrator.remote.bootstrap import command, handshake
from orchestrator.remote.link_files import FileMethods
from orchestrator.remote.link_host import HostMethods
from orchestrator.remote.link_jobs import JobMethods
from orchestrator.remote.link_setups import SetupMethods
from orchestrator.remote.link_types import Hello, Opened
from orchestrator.remote.payload import payload
from orchestrator.remote.rpc import PING_INTERVAL, Rpc
from orchestrator.remote.streaming import Pending
from orchestrator.remote.streams import ChannelRefused, Transport

ProfileChoice = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]

OPEN_TIMEOUT = 30.0
"""Seconds the agent has to answer its first requests."""


class AgentLink(JobMethods, FileMethods, SetupMethods, HostMethods):
    """An open host. Made by `open`; may be used by many threads; a context manager.

    Attributes:
        name: the host's name in the inventory.
        hello: what the agent said about itself.
        opened: the spool it is bound to.
        profile: what the agent was told of the provider.
        noise: what the login shell printed before the agent (not harmless).
        connect_seconds: from the first byte to the open spool.
    """

    ping_interval = PING_INTERVAL

    def __init__(self, name: str, transport: Transport, probe: Iterable[str], python_hint: str | None) -> None:
        self.name = name
        self.transport = transport
        self.noise = b""
        self.connect_seconds = 0.0
        self.hello = cast(Hello, {})
        self.opened = cast(Opened, {})
        self.profile: dict[str, Any] = {}
        self._probe = list(probe)
        self._python = python_hint
        self._main: Rpc | None = None
        self._bulk: Rpc | None = None
        self._bulk_refused = False
        self._guard = threading.Lock()

    @classmethod
    def open(
        cls,
        name: str,
        transport: Transport,
        *,
        profile: ProfileChoice,
        probe: Iterable[str] = (),
        expect_agent: str | None = None,
        python_hint: str | None = None,
    ) -> AgentLink:
        """Bring up the agent (install it if needed), greet it, open the spool.

        Args:
            name: the host's name, for messages.
            transport: an open connection; the link closes it, except when this call fails.
            profile: what the agent needs to know of the provider, or a function that chooses it from `hello`.
            probe: paths whose existence `hello` tells.
            expect_agent: digest of the agent the host had last time; when it is ours, requests do not wait.
            python_hint: a Python to try first.

        Raises:
            AgentError: no usable Python, no room, or the agent refuses (spool of another host, root missing).
            UnreachableError: the connection was lost.
        """
        link = cls(name, transport, probe, python_hint)
        began = time.monotonic()
        link._main = link._connect("serve", profile, expect_agent == payload().digest)
        link.connect_seconds = time.monotonic() - began
        return link

    @property
    def agent_hash(self) -> str:
        """Digest of the agent that answers."""
        return payload().digest

    @property
    def host_id(self) -> str:
        """The host's identity: container or machine."""
        return self.opened["host_id"]

    @property
    def profile_name(self) -> str:
        """Name of the provider's profile."""
        return str(self.profile.get("name", ""))

    @property
    def rpc(self) -> Rpc:
        """The channel for everything small."""
        if self._main is None:
            raise UnreachableError(f"the connection to {self.name} was closed", host=self.name)
        return self._main

    def is_alive(self) -> bool:
        """Whether the agent still answers, as far as is known."""
        return self._main is not None and self._main.is_alive() and self.transport.is_alive()

    def bulk(self) -> Rpc:
        """The channel for packs and files: a second one, opened when first needed; the main one where it is refused.

        Raises:
            AgentError, UnreachableError: as from `open`.
        """
        with self._guard:
            if self._bulk_refused:
                return self.rpc
            if self._bulk is None or not self._bulk.is_alive():
                if self._bulk is not None:
                    self._bulk.close()
                    self._bulk = None
                try:
                    self._bulk = self._connect("serve-bulk", self.profile, True)
                except ChannelRefused:
                    self._bulk_refused = True
                    return self.rpc
            return self._bulk

    def close(self) -> None:
        """Close both channels and the transport."""
        with self._guard:
            channels, self._main, self._bulk = (self._main, self._bulk), None, None
        for channel in channels:
            if channel is not None:
                channel.close()
        self.transport.close()

    def __enter__(self) -> AgentLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, role: str, profile: ProfileChoice, expect: bool) -> Rpc:
        agent = payload()
        stream = self.transport.open_stream(command(self._python, agent.digest, len(agent.wire), role))
        rpc = Rpc(stream, self.name, ping_interval=self.ping_interval)
        try:
            hello, requests = rpc.prepare("hello", controller=socket.gethostname(), probe=self._probe)
            opened: Pending | None = None
            if not callable(profile):
                opened, frame = rpc.prepare("open", profile=dict(profile))
                requests += frame
            greeting = handshake(stream, agent, requests, host=self.name, expect=expect)
            rpc.begin(greeting.leftover)
            said = hello.result(OPEN_TIMEOUT).result
            chosen = dict(profile(said) if callable(profile) else profile)
            opened = opened or rpc.start("open", profile=chosen)
            spool = opened.result(OPEN_TIMEOUT).result
        except BaseException:
            rpc.close()
            raise
        if role == "serve":
            self.noise, self.profile = greeting.noise, chosen
            self.hello, self.opened = cast(Hello, said), cast(Opened, spool)
        return rpc
