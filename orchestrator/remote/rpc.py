"""The controller's end of one channel to an agent: many requests at once over one stream, each in its own pace."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.errors import AgentError, OrchError, UnreachableError
from orchestrator.remote.streaming import Pending, Reply, Stream, Upload, Waiter
from orchestrator.remote.streams import ByteStream
from orchestrator.text import neutralise
from remote_payload.agent.wire.protocol import Decoder, Frame, ProtocolError, encode

PING_INTERVAL = 15.0
"""Seconds between two pings."""
MISSED_PINGS = 3
"""Intervals without a single frame from the host after which it counts as unreachable."""
CALL_TIMEOUT = 60.0
_READ = 256 * 1024
_JOIN = 1.0
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

agent_log = logging.getLogger("orch.agent")


class Rpc:
    """One channel. Requests may be made by any thread; a daemon thread reads, another one pings.

    Args:
        stream: carries frames from now on (after the bootstrap).
        host: name for messages.
        ping_interval: seconds between pings; three intervals of silence end the channel.
        on_event: called in the reading thread with each `event` frame; must not block.
    """

    def __init__(
        self,
        stream: ByteStream,
        host: str = "",
        *,
        ping_interval: float = PING_INTERVAL,
        on_event: Callable[[Frame], None] | None = None,
    ) -> None:
        self.host = host
        self.rtt: float | None = None
        self._stream = stream
        self._interval = ping_interval
        self._on_event = on_event
        self._state = threading.Lock()
        self._writing = threading.Lock()
        self._waiters: dict[int, Waiter] = {}
        self._last_id = 0
        self._dead: OrchError | None = None
        self._ended = threading.Event()
        self._heard = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._ping_thread: threading.Thread | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def begin(self, leftover: bytes = b"") -> None:
        """Start reading and pinging.

        Args:
            leftover: bytes that the bootstrap has read too many.
        """
        self._heard = time.monotonic()
        for name, target in (("read", lambda: self._read(leftover)), ("ping", self._ping_on)):
            thread = threading.Thread(target=target, daemon=True, name=f"rpc-{name}-{self.host}")
            self._threads.append(thread)
            thread.start()

    def is_alive(self) -> bool:
        """Whether the channel still answers, as far as is known."""
        return self._dead is None

    def close(self) -> None:
        """End the channel; everybody waiting gets UnreachableError. May be called twice and from any thread."""
        self._fail(UnreachableError(f"the connection to {self.host} was closed", host=self.host))
        threads = [*self._threads, self._ping_thread]
        for thread in threads:
            if thread is not None and thread is not threading.current_thread():
                thread.join(_JOIN)

    def _fail(self, error: OrchError) -> None:
        with self._state:
            if self._dead is None:
                self._dead = error
            waiters = list(self._waiters.values())
            self._waiters.clear()
        self._ended.set()
        for waiter in waiters:
            waiter.fail(error)
        self._stream.close()

    # -- asking -------------------------------------------------------------------------------------------------------

    def prepare(self, method: str, body: bytes = b"", **args: Any) -> tuple[Pending, bytes]:
        """Register a request and return the frame to send for it (for the bootstrap, which sends it itself)."""
        pending = Pending(self.host, method)
        return pending, self._request(pending, method, args, body)[1]

    def start(self, method: str, body: bytes = b"", **args: Any) -> Pending:
        """Send a request and return at once; `.result(timeout)` waits for the reply.

        Raises:
            UnreachableError: the connection was lost.
        """
        pending, frame = self.prepare(method, body, **args)
        self._send(frame)
        return pending

    def call(self, method: str, body: bytes = b"", timeout: float | None = CALL_TIMEOUT, **args: Any) -> Reply:
        """Send a request and wait for its reply.

        Args:
            method: a name from the protocol's table.
            body: the method's raw input.
            timeout: seconds; None waits as long as the host answers pings.
            args: the method's arguments, by name.

        Raises:
            AgentError: the agent answered with an error.
            UnreachableError: the connection was lost, or no reply in time.
        """
        return self.start(method, body, **args).result(timeout)

    def stream(self, method: str, **args: Any) -> Stream:
        """Send a request that is answered by many frames.

        Raises:
            UnreachableError: the connection was lost.
        """
        number = 0

        def credit(received: int) -> None:
            with contextlib.suppress(UnreachableError):
                self._send(encode({"t": "credit", "id": number, "received": received}))

        def cancel() -> None:
            self._forget(number)
            with contextlib.suppress(UnreachableError):
                self._send(encode({"t": "stop", "id": number}))

        stream = Stream(self.host, method, credit, cancel)
        number, frame = self._request(stream, method, args)
        self._send(frame)
        return stream

    def upload(
        self,
        method: str,
        args: dict[str, Any],
        chunks: Iterable[bytes],
        progress: Callable[[int], None] | None = None,
    ) -> Reply:
        """Send a request and its input piece by piece, as fast as the host takes it and no faster.

        Args:
            method, args: the request.
            chunks: the input, in pieces of any size.
            progress: called in this thread with the bytes the host has taken so far.

        Raises:
            AgentError: the agent refused.
            UnreachableError: the connection was lost.
        """
        pending = Upload(self.host, method)
        number, frame = self._request(pending, method, args)
        self._send(frame)
        try:
            for chunk in chunks:
                if not self._send_pieces(number, pending, chunk, progress):
                    return pending.result()
            self._send(encode({"t": "end", "id": number}))
        except BaseException:
            if not pending.finished:
                self._forget(number)
                with contextlib.suppress(UnreachableError):
                    self._send(encode({"t": "stop", "id": number}))
            raise
        reply = pending.result()
        if progress:
            progress(pending.acknowledged)
        return reply

    def _send_pieces(self, number: int, pending: Upload, chunk: bytes, progress: Callable[[int], None] | None) -> bool:
        view = memoryview(chunk)
        while view:
            size = min(pending.reserve(), len(view))
            if not size:
                return False
            pending.sent(size)
            self._send(encode({"t": "data", "id": number}, bytes(view[:size])))
            view = view[size:]
            if progress:
                progress(pending.acknowledged)
        return True

    def _request(self, waiter: Waiter, method: str, args: dict[str, Any], body: bytes = b"") -> tuple[int, bytes]:
        with self._state:
            if self._dead is not None:
                raise UnreachableError(self._dead.message, self._dead.hint, host=self.host)
            self._last_id += 1
            number = self._last_id
            self._waiters[number] = waiter
        try:
            return number, encode({"t": "req", "id": number, "method": method, "args": args}, body)
        except ProtocolError as error:
            self._forget(number)
            raise AgentError(f"the request {method!r} is too large: {error}", host=self.host) from error

    def _forget(self, number: int) -> None:
        with self._state:
            self._waiters.pop(number, None)

    def _send(self, frame: bytes) -> None:
        try:
            with self._writing:
                self._stream.send(memoryview(frame))
        except (UnreachableError, OSError) as error:
            self._fail(self._lost())
            raise UnreachableError(str(error), host=self.host) from error

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, leftover: bytes) -> None:
        decoder = Decoder()
        data = leftover
        try:
            while True:
                if data:
                    self._heard = time.monotonic()
                for frame in decoder.feed(data):
                    self._dispatch(frame)
                data = self._stream.recv(_READ)
                if not data:
                    break
        except ProtocolError as error:
            said = neutralise(str(error))
            self._fail(AgentError(f"{self.host} sent what orch cannot read: {said}", host=self.host, code="internal"))
        except (UnreachableError, OSError):
            self._fail(self._lost())
        else:
            self._fail(self._lost())

    def _dispatch(self, frame: Frame) -> None:
        kind = frame.header["t"]
        if kind == "log":
            level = _LEVELS.get(str(frame.header.get("level")), logging.INFO)
            agent_log.log(level, "%s: %s", self.host, neutralise(str(frame.header.get("text")), lines=True))
            return
        if kind == "event":
            if self._on_event:
                self._on_event(frame)
            return
        number = frame.header.get("id")
        if not isinstance(number, int):
            return
        with self._state:
            waiter = self._waiters.get(number)
        # Frames of a stream that was stopped are still under way for a while; nobody waits for them.
        if waiter is not None and waiter.deliver(frame):
            self._forget(number)

    def _lost(self) -> UnreachableError:
        """Make the error for a stream that ended, with the agent's last words where there are some."""
        words = self._stream.stderr_tail().decode("utf-8", "backslashreplace").strip().splitlines()
        said = f"; its last words: {neutralise(words[-1])[:300]}" if words else ""
        return UnreachableError(
            f"the connection to {self.host} was lost{said}", "Its jobs go on all the same.", host=self.host
        )

    # -- pinging ------------------------------------------------------------------------------------------------------

    def _ping_on(self) -> None:
        while not self._ended.wait(self._interval):
            silent = time.monotonic() - self._heard
            if silent > (MISSED_PINGS - 0.5) * self._interval:
                message = f"{self.host} has not answered for {silent:.0f} s"
                self._fail(UnreachableError(message, "Its jobs go on all the same.", host=self.host))
                return
            if self._ping_thread is None or not self._ping_thread.is_alive():
                # Sent by a thread of its own: on a dead line the write itself hangs, and somebody must still count.
                thread = threading.Thread(target=self._ping_once, daemon=True, name=f"rpc-ping-once-{self.host}")
                self._ping_thread = thread
                thread.start()

    def _ping_once(self) -> None:
        with contextlib.suppress(OrchError):
            self.ping(MISSED_PINGS * self._interval)

    def ping(self, timeout: float = CALL_TIMEOUT) -> float:
        """Ask for a sign of life; return the round trip in seconds (also kept as `rtt`).

        Raises:
            UnreachableError: the connection was lost, or no reply in time.
        """
        began = time.monotonic()
        self.call("ping", timeout=timeout)
        self.rtt = time.monotonic() - began
        return self.rtt
