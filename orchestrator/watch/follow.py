"""Many jobs on many hosts as one stream of events: states, log bytes, lost and regained hosts."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.errors import HostError, OrchError, UnreachableError
from orchestrator.remote.agent_link import AgentLink
from remote_payload.agent.spool.states import FINAL_STATES
from remote_payload.agent.wire.messages import JobView

BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""Seconds between tries to reach a host again; the last one repeats."""

QUEUE = 64
"""Events that wait to be taken; beyond that the hosts are not read, and their flow control holds them back."""
SKIP_LEAVES = 256 * 1024
"""Bytes at the end of a log that are still shown when its middle is left out."""

_STARTED = frozenset({"RUNNING", "CANCELLING"}) | FINAL_STATES


@dataclass(frozen=True)
class StateChanged:
    """The host's newest word on a job."""

    host: str
    view: JobView


@dataclass(frozen=True)
class LogBytes:
    """The next bytes of an attempt's log; offsets never repeat and never skip."""

    job: str
    attempt: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class HostLost:
    """The line to a host broke; its jobs go on. Said once until it is back."""

    host: str
    error: OrchError


@dataclass(frozen=True)
class HostBack:
    """A lost host answers again."""

    host: str


@dataclass(frozen=True)
class GaveUp:
    """A host that will not answer any more for a reason no waiting mends (refused login, removed spool)."""

    host: str
    error: OrchError


@dataclass(frozen=True)
class Skipped:
    """So many bytes of a log were left out: it grows faster than it is taken (only where `skip_behind` allows it)."""

    job: str
    attempt: int
    count: int


@dataclass(frozen=True)
class LogEnded:
    """Every byte of a final job's log was given out (or its host gave up)."""

    job: str


Event = StateChanged | LogBytes | Skipped | LogEnded | HostLost | HostBack | GaveUp


@dataclass
class _Position:
    attempt: int = 0
    offset: int = 0
    skip_to: int | None = None


@dataclass
class Watched:
    """What to follow on one host."""

    host: str
    open_link: Callable[[], AgentLink]
    jobs: Sequence[str]
    lost: bool = field(default=False, init=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)


class Follower:
    """Follows jobs until every one of them is final and its log is here.

    Args:
        hosts: what to follow where.
        logs: the ids of jobs whose logs are wanted; None = of all, empty = only states.
        start: {job id: (attempt, offset)} where a log is taken up; by default its beginning.
        skip_behind: bytes a running job's log may be ahead of what was taken; beyond that the middle is left out and
            said. None = never, however long it takes.
    """

    def __init__(
        self,
        hosts: Sequence[Watched],
        *,
        logs: Collection[str] | None = None,
        start: dict[str, tuple[int, int]] | None = None,
        skip_behind: int | None = None,
    ) -> None:
        self._hosts = hosts
        self._logs = logs
        self._skip_behind = skip_behind
        self._events: queue.Queue[Event | None] = queue.Queue(maxsize=QUEUE)
        self._stop = threading.Event()
        self._positions = {job: _Position(*at) for job, at in (start or {}).items()}
        self._following: set[str] = set()
        self._ended: dict[str, int] = {}
        self._running = 0
        self._count_lock = threading.Lock()
        self._bug: BaseException | None = None

    def events(self) -> Iterator[Event | None]:
        """Yield events as they come; None each quarter of a second of silence, so that a view can redraw."""
        for host in self._hosts:
            if host.jobs:
                self._spawn(self._watch_host, host)
        while True:
            event: Event | None = None
            with suppress(queue.Empty):
                event = self._events.get(timeout=0.25)
            if self._bug is not None:
                raise self._bug
            if event is None:
                with self._count_lock:
                    if self._running == 0 and self._events.empty():
                        return
            yield event

    def stop(self) -> None:
        """Stop following; the jobs go on."""
        self._stop.set()

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        with self._count_lock:
            self._running += 1

        def run() -> None:
            try:
                work(*args)
            except BaseException as error:  # told to whoever reads the events: a silent end would look like success
                self._bug = error
            finally:
                with self._count_lock:
                    self._running -= 1
                # Whoever waits for the next event looks at once whether this was the last.
                with suppress(queue.Full):
                    self._events.put_nowait(None)

        threading.Thread(target=run, daemon=True, name=f"follow-{work.__name__}").start()

    def _put(self, event: Event) -> None:
        while not self._stop.is_set():
            try:
                self._events.put(event, timeout=0.5)
                return
            except queue.Full:
                continue

    def _persist(self, host: Watched, step: Callable[[AgentLink], None]) -> None:
        """Run `step` until it returns; a lost line is waited out and the step begins again where it stopped."""
        tries = 0
        while not self._stop.is_set():
            try:
                link = host.open_link()
                self._back(host)
                tries = 0
                step(link)
                return
            except UnreachableError as error:
                self._lose(host, error)
            except HostError as error:
                self._put(GaveUp(host.host, error))
                return
            self._stop.wait(BACKOFF[min(tries, len(BACKOFF) - 1)])
            tries += 1

    def _lose(self, host: Watched, error: OrchError) -> None:
        with host.lock:
            first, host.lost = not host.lost, True
        if first:
            self._put(HostLost(host.host, error))

    def _back(self, host: Watched) -> None:
        with host.lock:
            again, host.lost = host.lost, False
        if again:
            self._put(HostBack(host.host))

    def _watch_host(self, host: Watched) -> None:
        def step(link: AgentLink) -> None:
            for views in link.watch(list(host.jobs)):
                if self._stop.is_set():
                    return
                for view in views:
                    self._put(StateChanged(host.host, view))
                    if self._skip_behind is not None:
                        self._skip(view)
                    if self._wanted(view):
                        self._following.add(view["id"])
                        self._spawn(self._follow_job, host, view["id"])

        self._persist(host, step)

    def _wanted(self, view: JobView) -> bool:
        job = view["id"]
        if (self._logs is not None and job not in self._logs) or job in self._following:
            return False
        return view["state"] in _STARTED and view["attempt"] > self._ended.get(job, 0)

    def _skip(self, view: JobView) -> None:
        """Have the log of a job taken up near its end when what is here is too far behind."""
        at, attempts = self._positions.get(view["id"]), view["attempts"]
        if at is None or not attempts or attempts[-1]["number"] != at.attempt or self._skip_behind is None:
            return
        if attempts[-1]["log_size"] - at.offset > self._skip_behind:
            at.skip_to = attempts[-1]["log_size"] - SKIP_LEAVES

    def _follow_job(self, host: Watched, job: str) -> None:
        at = self._positions.setdefault(job, _Position())

        def pour(link: AgentLink) -> bool:
            """Hand on the log from where it is; False when it is to be taken up further on."""
            for piece in link.follow(job, attempt=at.attempt, offset=at.offset):
                if self._stop.is_set():
                    return True
                self._ended[job] = max(piece.attempt, self._ended.get(job, 0))
                if at.skip_to is not None and piece.attempt == at.attempt and piece.offset < at.skip_to:
                    return False
                if piece.data:
                    self._put(LogBytes(job, piece.attempt, piece.offset, piece.data))
                    # Only bytes move the position: the news of an attempt's end has no offset of its own, and a line
                    # that breaks right after it must not bring the whole log once more.
                    at.attempt, at.offset = piece.attempt, piece.offset + len(piece.data)
            return True

        def step(link: AgentLink) -> None:
            while not pour(link):
                skipped = (at.skip_to or at.offset) - at.offset
                at.offset, at.skip_to = at.offset + skipped, None
                self._put(Skipped(job, at.attempt, skipped))

        self._persist(host, step)
        self._following.discard(job)
        self._put(LogEnded(job))
