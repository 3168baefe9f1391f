"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Ask every 10 ms until `condition` returns something true; return that.

    Args:
        condition: asked in this thread.
        timeout: seconds until the test fails.
        what: shown when it fails.
    """
    until = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}")
        time.sleep(0.01)
