"""What waits for an agent's answer: a reply, a stream, or the room an upload may fill."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from orchestrator.errors import AgentError, OrchError, UnreachableError
from orchestrator.text import neutralise
from remote_payload.agent.wire.flow import MAX_WINDOW, Window
from remote_payload.agent.wire.protocol import CHUNK, Frame

CREDIT_STEP = 16 * 1024
"""Bytes a consumer takes before it says so, unless it has taken everything."""

MAX_WAITING = MAX_WINDOW + 16 * 1024 * 1024
"""Bytes of a stream that may lie here unread; an honest agent stops long before, at its window."""

_FRAME_COST = 512


class Reply(NamedTuple):
    """A method's result and, where it has one, its raw body."""

    result: dict[str, Any]
    body: bytes


def agent_error(frame: Frame, host: str) -> AgentError:
    """Make the error that an `err` frame stands for; its text is made harmless."""
    error = frame.header.get("error")
    fields = error if isinstance(error, dict) else {}
    message = neutralise(str(fields.get("message") or "the agent gave no reason"))
    hint = neutralise(str(fields.get("hint") or ""), lines=True)
    return AgentError(f"{host}: {message}", hint, host=host, code=neutralise(str(fields.get("code") or "internal")))


class Waiter:
    """One request whose answer has not come.

    Args:
        host: name for messages.
        method: the request's method, for messages.
    """

    def __init__(self, host: str, method: str) -> None:
        self.host = host
        self.method = method
        self.changed = threading.Condition()
        self._reply: Reply | None = None
        self._error: OrchError | None = None

    def deliver(self, frame: Frame) -> bool:
        """Take a frame from the reading thread; True when it was the last one."""
        kind = frame.header["t"]
        if kind == "ok":
            result = frame.header.get("result")
            with self.changed:
                self._reply = Reply(result if isinstance(result, dict) else {}, frame.body)
                self.changed.notify_all()
            return True
        if kind == "err":
            self.fail(agent_error(frame, self.host))
            return True
        return False

    def fail(self, error: OrchError) -> None:
        """End the wait with an error, unless it has ended."""
        with self.changed:
            if self._reply is None and self._error is None:
                self._error = error
            self.changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether a reply or an error is there."""
        return self._reply is not None or self._error is not None

    def _outcome(self) -> Reply:
        if self._error is not None:
            # Each waiter gets an exception of its own: the same object raised in two threads mixes tracebacks.
            raise _copy(self._error)
        assert self._reply is not None
        return self._reply


def _copy(error: OrchError) -> OrchError:
    made = error.__class__.__new__(error.__class__)
    made.__dict__.update(error.__dict__)
    made.args = error.args
    return made


class Pending(Waiter):
    """A request under way whose reply is asked for later."""

    def result(self, timeout: float | None = None) -> Reply:
        """Wait for the reply.

        Args:
            timeout: seconds; None waits as long as the host answers pings.

        Raises:
            AgentError: the agent answered with an error.
            UnreachableError: the connection was lost, or no reply in time.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: self.finished, timeout):
                raise UnreachableError(
                    f"{self.host} did not answer {self.method!r} within {timeout:g} s",
                    "Is it overloaded? Its jobs go on all the same.",
                    host=self.host,
                )
            return self._outcome()


class Stream(Waiter):
    """Frames of one answer, in order; iterate, and leave early by `stop` (or the end of a `with`).

    Args:
        host, method: for messages.
        credit: tells the agent how many body bytes were taken in all.
        cancel: tells the agent that no more is wanted.
    """

    def __init__(self, host: str, method: str, credit: Callable[[int], None], cancel: Callable[[], None]) -> None:
        super().__init__(host, method)
        self._credit = credit
        self._cancel = cancel
        self._frames: deque[Frame] = deque()
        self._waiting = 0
        self._taken = 0
        self._told = 0
        self._stopped = False

    def deliver(self, frame: Frame) -> bool:
        """Take a frame from the reading thread; True when it was the last one."""
        if frame.header["t"] != "data":
            return super().deliver(frame)
        with self.changed:
            self._frames.append(frame)
            self._waiting += len(frame.body) + _FRAME_COST
            over = self._waiting > MAX_WAITING
            self.changed.notify_all()
        if over:
            self.fail(AgentError(f"{self.host} sent more than was asked for", host=self.host, code="internal"))
        return over

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self.changed:
            self.changed.wait_for(lambda: self._frames or self.finished or self._stopped)
            if self._stopped:
                raise StopIteration
            if not self._frames:
                self._outcome()
                raise StopIteration
            frame = self._frames.popleft()
            self._waiting -= len(frame.body) + _FRAME_COST
            self._taken += len(frame.body)
            due = self._taken - self._told >= CREDIT_STEP or (not self._frames and self._taken > self._told)
            due = due and not self.finished
            if due:
                self._told = self._taken
        if due:
            self._credit(self._told)
        return frame

    @property
    def result(self) -> dict[str, Any]:
        """What the agent said at the stream's end; empty while it goes on or when it was stopped."""
        return self._reply.result if self._reply is not None else {}

    def stop(self) -> None:
        """Want no more; what has not been read is dropped. May be called from any thread, and twice."""
        with self.changed:
            tell = not self._stopped and not self.finished
            self._stopped = True
            self._frames.clear()
            self.changed.notify_all()
        if tell:
            self._cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Upload(Pending):
    """A request whose input follows in pieces, never more under way than its window allows."""

    def __init__(self, host: str, method: str) -> None:
        super().__init__(host, method)
        self._window = Window()

    def deliver(self, frame: Frame) -> bool:
        """Take a frame from the reading thread; True when it was the last one."""
        if frame.header["t"] != "credit":
            return super().deliver(frame)
        with self.changed:
            received = frame.header.get("received")
            if isinstance(received, int):
                self._window.on_ack(received, time.monotonic())
            self.changed.notify_all()
        return False

    def reserve(self) -> int:
        """Wait until a piece may leave; return how large it may be, 0 when the agent has already answered."""
        with self.changed:
            self.changed.wait_for(lambda: self.finished or self._window.room() > 0)
            return 0 if self.finished else min(CHUNK, self._window.room())

    def sent(self, size: int) -> None:
        """Note that a piece of `size` bytes leaves now."""
        with self.changed:
            self._window.on_send(size, time.monotonic())

    @property
    def acknowledged(self) -> int:
        """Bytes the agent has taken."""
        return self._window.acked
