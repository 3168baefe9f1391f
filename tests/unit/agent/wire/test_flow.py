"""How many bytes may be under way, by what the line has shown so far."""

from __future__ import annotations

import pytest

from remote_payload.agent.wire.flow import MAX_WINDOW, MIN_WINDOW, Window

LINES = {
    "a quick line without delay: both ends keep busy": (0.0002, 50e6, 1_000_000),
    "a narrow line without delay: a ping waits little": (0.0002, 1e6, MIN_WINDOW),
    "a narrow line far away": (0.05, 1e6, 100_000),
    "a quick line far away": (0.05, 100e6, MAX_WINDOW),
}


@pytest.mark.parametrize(("trip", "rate", "expected"), LINES.values(), ids=LINES)
def test_window_settles(trip: float, rate: float, expected: int) -> None:
    """A line of a round trip (s) and a rate (bytes/s), filled as far as the window allows, again and again."""
    window, now = Window(), 0.0
    for _ in range(40):
        size = window.room()
        window.on_send(size, now)
        now += max(trip, size / rate) if size > 8192 else trip
        window.on_ack(window.sent, now)
    assert window.window == pytest.approx(expected, rel=0.05)
