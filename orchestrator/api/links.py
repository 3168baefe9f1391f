"""One open link per host, shared by everything a command does, and questions put to many hosts at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from orchestrator.api.late_cancels import deliver
from orchestrator.api.late_secrets import give
from orchestrator.errors import HostError, OrchError, UnreachableError
from orchestrator.hosts.inventory import HostEntry
from orchestrator.hosts.profiles import Profile, detect, load_profiles, probe_paths
from orchestrator.hosts.target import parse_ssh_line
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.asker import Asker
from orchestrator.remote.local import LocalTransport
from orchestrator.store import Store

if TYPE_CHECKING:
    from orchestrator.remote.dial import Dialer
    from orchestrator.remote.ssh import SshTransport

T = TypeVar("T")
LOCAL = "local"
DEADLINE = 20.0
"""Seconds a host has to answer before it counts as unreachable for this question."""


@dataclass
class Answer(Generic[T]):
    """What one host said: a value, or the error that stands for its silence. bug: what should never have happened."""

    host: str
    value: T | None = None
    error: OrchError | None = None
    seconds: float = 0.0
    bug: BaseException | None = None


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    link: AgentLink | None = None


class Links:
    """Opens each host once and keeps it open until closed.

    Args:
        home: ORCH_HOME.
        store: remembers which agent a host already has.
        asker: asks the person for trust, passwords and passphrases.

    Attributes:
        delivered: {host: ids of jobs} whose cancel was kept until now and has reached the host.
        given: {host: ids of jobs} that waited for secrets and have got them.
    """

    def __init__(self, home: Path, store: Store, asker: Asker) -> None:
        self._store = store
        self._home = home
        self._asker = asker
        self._dialer: Dialer | None = None
        self.delivered: dict[str, list[str]] = {}
        self.given: dict[str, list[str]] = {}
        self._slots: dict[str, _Slot] = {}
        self._guard = threading.Lock()

    @property
    def dialer(self) -> Dialer:
        """What makes SSH connections: keys, trust, passwords asked once."""
        from orchestrator.remote.ssh import dialer

        with self._guard:
            if self._dialer is None:
                self._dialer = dialer(self._home, self._asker)
            return self._dialer

    def open(self, entry: HostEntry) -> AgentLink:
        """Return the open link to a host, making it when there is none or the old one died.

        Raises:
            HostError: no connection, no login, no trust, or no usable Python there.
        """
        with self._guard:
            slot = self._slots.setdefault(entry.name, _Slot())
        with slot.lock:
            if slot.link is None or not slot.link.is_alive():
                if slot.link is not None:
                    slot.link.close()
                slot.link = self._connect(entry)
            return slot.link

    def transport(self, entry: HostEntry) -> SshTransport:
        """Return a bare SSH transport (for trust, keys and forwarding); the caller closes it."""
        # Imported here: it takes a third of the time of a command that speaks to this very machine only.
        from orchestrator.remote.ssh import connect

        return connect(entry.name, parse_ssh_line(entry.ssh), self.dialer)

    def asked_password(self, name: str) -> bool:
        """Whether the person was asked for this host's password in this run."""
        return self._dialer is not None and name in self._dialer.memory.asked

    def _connect(self, entry: HostEntry) -> AgentLink:
        transport = LocalTransport(entry.name) if entry.ssh == LOCAL else self.transport(entry)
        seen = self._store.host_seen(entry.name)
        try:
            link = AgentLink.open(
                entry.name,
                transport,
                profile=_profile_chooser(entry),
                probe=probe_paths(),
                expect_agent=seen.agent_hash if seen else None,
                python_hint=entry.python,
            )
        except BaseException:
            transport.close()
            raise
        self._store.note_host(
            entry.name,
            agent_hash=link.agent_hash,
            host_id=link.host_id,
            seen_at=time.time(),
            facts={"root": link.opened["root"]},
        )
        self._deliver(link)
        return link

    def _deliver(self, link: AgentLink) -> None:
        try:
            told = deliver(self._store, link)
            given = give(self._store, link)
        except BaseException:
            link.close()
            raise
        if told:
            self.delivered[link.name] = told
        if given:
            self.given[link.name] = given

    def each(
        self,
        entries: Iterable[HostEntry],
        work: Callable[[AgentLink], T],
        deadline: float = DEADLINE,
    ) -> dict[str, Answer[T]]:
        """Put one question to many hosts at once; a dead host costs nobody else anything.

        Args:
            entries: the hosts.
            work: asks through the open link; runs in a thread of its own.
            deadline: seconds after which a silent host counts as unreachable.

        Returns:
            One answer a host, in the order given.
        """
        names = []
        answers: queue.Queue[Answer[T]] = queue.Queue()

        def ask(entry: HostEntry) -> None:
            began = time.monotonic()
            answer: Answer[T] = Answer(entry.name)
            try:
                answer.value = work(self.open(entry))
            except OrchError as error:
                answer.error = error
            except OSError as error:
                answer.error = UnreachableError(f"{entry.name}: {error}", host=entry.name)
            except BaseException as error:  # a thread that dies in silence would be waited for, for ever
                answer.bug = error
            answer.seconds = time.monotonic() - began
            answers.put(answer)

        for entry in entries:
            names.append(entry.name)
            # Daemon threads: a name look-up has no deadline, and the interpreter must not wait for it at exit.
            threading.Thread(target=ask, args=(entry,), daemon=True, name=f"ask-{entry.name}").start()
        got = _collect(answers, len(names), deadline)
        return {name: got.get(name) or _silent(name, deadline) for name in names}

    def close(self) -> None:
        """Close every link."""
        with self._guard:
            slots = list(self._slots.values())
            self._slots.clear()
        for slot in slots:
            if slot.link is not None:
                slot.link.close()
        if self._dialer is not None:
            self._dialer.close()


def _collect(answers: queue.Queue[Answer[T]], count: int, deadline: float) -> dict[str, Answer[T]]:
    got: dict[str, Answer[T]] = {}
    until = time.monotonic() + deadline
    while len(got) < count:
        left = until - time.monotonic()
        if left <= 0:
            break
        # In slices: a lock held for ever cannot be interrupted by Ctrl-C on every system.
        with suppress(queue.Empty):
            answer = answers.get(timeout=min(left, 0.5))
            if answer.bug is not None:
                raise answer.bug
            got[answer.host] = answer
    return got


def _silent(name: str, deadline: float) -> Answer[Any]:
    error = UnreachableError(
        f"{name} did not answer within {deadline:.0f} s", "Its jobs go on all the same.", host=name
    )
    return Answer(name, error=error, seconds=deadline)


def _profile_chooser(entry: HostEntry) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def choose(hello: Mapping[str, Any]) -> dict[str, Any]:
        profile = detect(hello) if entry.profile == "auto" else _named(entry.profile)
        chosen = profile.for_agent(hello)
        if entry.root:
            chosen["root"] = entry.root
        chosen["gpus"] = None if entry.gpus is None else list(entry.gpus)
        chosen["max_gpus"] = entry.max_gpus
        return chosen

    return choose


def _named(name: str) -> Profile:
    profiles = load_profiles()
    if name not in profiles:
        raise HostError(f"no profile is called {name!r}", f"Known: {', '.join(sorted(profiles))}.")
    return profiles[name]
