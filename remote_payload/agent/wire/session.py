"""One request as its method sees it: arguments in, an answer or a stream out, an upload piece by piece."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Deque, Dict, NamedTuple, Optional

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.wire.flow import MAX_WINDOW, Window
from remote_payload.agent.wire.outbox import Closed, Outbox
from remote_payload.agent.wire.protocol import CHUNK, encode

CREDIT_STEP = 32 * 1024
"""Bytes of an upload that are stored before the controller is told, unless all that came is stored."""
_MAX_UPLOAD_WAITING = MAX_WINDOW + 1024 * 1024


class Answer(NamedTuple):
    """What a method answers: a JSON object and raw bytes."""

    result: Dict[str, Any]
    body: bytes = b""


class Call:
    """One request under way.

    Args:
        number: the request's id.
        method: its name.
        args: by name, not checked yet.
        body: its raw input.
        outbox: takes what is sent.
        ordered: it is answered by a stream, so that even its last frame stays behind the others.
    """

    def __init__(
        self, number: int, method: str, args: Dict[str, Any], body: bytes, outbox: Outbox, *, ordered: bool
    ) -> None:
        self.number = number
        self.method = method
        self.args = args
        self.body = body
        self._outbox = outbox
        self._ordered = ordered
        self._changed = threading.Condition()
        self._stopped = False
        self._window = Window()
        self._pieces: Deque[bytes] = deque()
        self._pieces_size = 0
        self._ended = False
        self._received = 0
        self._credited = 0

    # -- called by the method ------------------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether the controller wants no more of it, or is gone."""
        return self._stopped or self._outbox.closed

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Closed: nobody wants it any more.
        """
        with self._changed:
            if not self.stopped:
                self._changed.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise Closed when nobody wants it any more."""
        if self.stopped:
            raise Closed()

    def room(self) -> int:
        """Wait until a piece may be sent; return its greatest size in bytes.

        Raises:
            Closed: nobody wants it any more.
        """
        with self._changed:
            while self._window.room() <= 0 and not self.stopped:
                self._changed.wait(1.0)
            if self.stopped:
                raise Closed()
            return min(CHUNK, self._window.room())

    def send(self, body: bytes = b"", **header: Any) -> None:
        """Send one piece of the answer, at most as large as `room` said.

        Raises:
            Closed: nobody wants it any more.
        """
        if body:
            with self._changed:
                self._window.on_send(len(body), time.monotonic())
        frame = encode({"t": "data", "id": self.number, **header}, body)
        self._outbox.send_piece(frame, lambda: self.stopped)

    def receive(self) -> Optional[bytes]:
        """Return the next bytes of the upload, None at its end. What was returned before counts as stored.

        Raises:
            Closed: the controller gave up.
            AgentFault: bad_request, when it sent more than its window.
        """
        with self._changed:
            unsaid = self._received - self._credited
            if unsaid >= CREDIT_STEP or (unsaid and not self._pieces):
                self._credited = self._received
                self._outbox.send(encode({"t": "credit", "id": self.number, "received": self._received}))
            while not self._pieces and not self._ended and not self.stopped:
                self._changed.wait(1.0)
            if self.stopped:
                raise Closed()
            if self._pieces_size > _MAX_UPLOAD_WAITING:
                raise AgentFault("bad_request", "the upload came faster than it was asked for")
            if not self._pieces:
                return None
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._pieces_size = 0
            self._received += len(data)
            return data

    # -- called by the server ------------------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """Send the reply, behind everything that was sent before."""
        self._last(encode({"t": "ok", "id": self.number, "result": answer.result}, answer.body))

    def fail(self, fault: AgentFault) -> None:
        """Send the error instead of a reply."""
        error = {"code": fault.code, "message": fault.message, "hint": fault.hint}
        self._last(encode({"t": "err", "id": self.number, "error": error}))

    def on_credit(self, received: int) -> None:
        """Note how much of the stream the controller has taken."""
        with self._changed:
            self._window.on_ack(received, time.monotonic())
            self._changed.notify_all()

    def on_data(self, body: bytes) -> None:
        """Take a piece of the upload."""
        with self._changed:
            # A sender that ignores its window loses the upload, not the agent's memory.
            if self._pieces_size <= _MAX_UPLOAD_WAITING:
                self._pieces.append(body)
                self._pieces_size += len(body)
            self._changed.notify_all()

    def on_end(self) -> None:
        """Note that the upload is complete."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Note that nobody wants it any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._outbox.wake()

    def _last(self, frame: bytes) -> None:
        if self._ordered:
            self._outbox.send_piece(frame, lambda: self.stopped)
        else:
            self._outbox.send(frame)
