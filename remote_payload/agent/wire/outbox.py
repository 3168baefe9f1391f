"""What leaves the agent: one thread writes, and small answers overtake the pieces of streams."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Callable, Deque

STREAM_ROOM = 256 * 1024
"""Bytes of stream pieces that may wait here; whoever has more waits himself."""


class Closed(Exception):
    """Nothing can be sent any more, or nobody wants it."""


class Outbox:
    """Frames on their way to the controller.

    No lock is held while it writes: a controller that reads nothing blocks the writing thread and no other.

    Args:
        descriptor: where frames are written; blocking.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._urgent: Deque[bytes] = deque()
        self._stream: Deque[bytes] = deque()
        self._waiting = 0
        self._writing = False
        self._closed = False
        self._thread = threading.Thread(target=self._write_on, name="orch-write", daemon=True)
        self._thread.start()

    def send(self, frame: bytes) -> None:
        """Queue a reply, a credit or news; never waits."""
        with self._changed:
            if not self._closed:
                self._urgent.append(frame)
                self._changed.notify_all()

    def send_piece(self, frame: bytes, unwanted: Callable[[], bool]) -> None:
        """Queue a frame of a stream behind those before it; waits while too many bytes wait.

        Args:
            frame: the bytes.
            unwanted: asked while it waits; True ends the wait.

        Raises:
            Closed: it is unwanted, or nothing can be sent any more.
        """
        with self._changed:
            while self._waiting >= STREAM_ROOM and not self._closed and not unwanted():
                self._changed.wait(1.0)
            if self._closed or unwanted():
                raise Closed()
            self._stream.append(frame)
            self._waiting += len(frame)
            self._changed.notify_all()

    def wake(self) -> None:
        """Have everybody who waits ask again whether he is wanted."""
        with self._changed:
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed

    def flush(self, timeout: float) -> None:
        """Wait until everything is written, at most `timeout` seconds."""
        until = time.monotonic() + timeout
        with self._changed:
            while (self._urgent or self._stream or self._writing) and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def close(self) -> None:
        """Send nothing more. A write that hangs is left to end with the process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._urgent and not self._stream and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                if self._urgent:
                    frame = self._urgent.popleft()
                else:
                    frame = self._stream.popleft()
                    self._waiting -= len(frame)
                self._writing = True
            try:
                self._write(frame)
            except OSError:  # the controller is gone
                self.close()
                return

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        while view:
            view = view[os.write(self._descriptor, view) :]
