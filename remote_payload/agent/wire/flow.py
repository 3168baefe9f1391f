"""How much of a stream may be under way: unacknowledged bytes <= clamp(2 x rate x turn, 64 KB, 4 MB). Pure.

The turn is the line's round trip, or what the programs at both ends need to take turns where the line is quicker.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Tuple

MIN_WINDOW = 64 * 1024
MAX_WINDOW = 4 * 1024 * 1024
TURN_SECONDS = 0.01
"""On a line without delay a window made for the line alone lets each end wait for the other. So many seconds' worth of
bytes lie in front of a ping in exchange, twice."""
FIRST = 4 * 1024
"""Largest first piece of a stream, in bytes: its trip is the line's own, not the time a large piece takes on it."""


class Window:
    """The sender's view of one stream.

    The receiver tells how many bytes it has taken in all (`credit.received`); from when those bytes were sent the
    sender learns round trip and rate, and keeps no more under way than twice their product. Both ends use it, so a
    bulk transfer never puts more than a moment's worth of bytes in front of a ping.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.acked = 0
        self.window = MIN_WINDOW
        self._rtt = float("inf")
        self._marks: Deque[Tuple[int, float, int]] = deque()

    def room(self) -> int:
        """Bytes that may be sent now (0 when the window is full)."""
        if not self.sent:
            return FIRST
        return max(0, self.window - (self.sent - self.acked))

    def on_send(self, size: int, now: float) -> None:
        """Note that `size` bytes leave at `now` (seconds, monotonic)."""
        self.sent += size
        self._marks.append((self.sent, now, self.acked))

    def on_ack(self, received: int, now: float) -> None:
        """Note that the receiver has `received` bytes in all; ignores what is old or impossible."""
        if not self.acked < received <= self.sent:
            return
        self.acked = received
        while self._marks and self._marks[0][0] <= received:
            _, sent_at, acked_then = self._marks.popleft()
            trip = max(now - sent_at, 1e-5)
            self._rtt = min(self._rtt, trip)
            rate = (received - acked_then) / trip
            self.window = int(min(max(2 * rate * max(self._rtt, TURN_SECONDS), MIN_WINDOW), MAX_WINDOW))
