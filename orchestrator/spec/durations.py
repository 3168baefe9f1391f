"""Durations as people write them. Pure."""

from __future__ import annotations

import math
import re

from orchestrator.errors import UsageError

EXAMPLES = "30s, 10m, 2h or 1h30m"
LONGEST = 10 * 365 * 86400.0
"""Seconds; anything longer is a slip of the finger."""

_UNITS = {
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
}
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_PATTERN = re.compile(
    "".join(rf"(?:(?P<{unit}>{_NUMBER})\s*(?:{'|'.join(sorted(words, key=len, reverse=True))})\s*)?"
            for unit, words in _UNITS.items()), re.IGNORECASE | re.ASCII,
)  # fmt: skip


def seconds_of(value: object) -> float:
    """Return a duration in seconds.

    Args:
        value: text (`30s`, `2h`, `1h30m`, `1.5 hours`; a bare number counts seconds) or a number of seconds.

    Raises:
        ValueError: it is none; the message is the end of a sentence (`must be …`).
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be a duration such as {EXAMPLES}")
    number = _parse(value.strip()) if isinstance(value, str) else float(value)
    if number is None or not math.isfinite(number) or number < 0:
        shown = getattr(value, "text", value)
        raise ValueError(f"must be a duration such as {EXAMPLES}, not {str(shown)[:40]!r}")
    if number > LONGEST:
        raise ValueError("must be shorter than ten years")
    return number


def parse_duration(text: str) -> float:
    """Return a duration typed on the command line, in seconds.

    Raises:
        UsageError: it is not one.
    """
    try:
        return seconds_of(text)
    except ValueError as error:
        raise UsageError(f"the time {error}") from None


def _parse(text: str) -> float | None:
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    found = _PATTERN.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    return sum(float(number) * _SECONDS[unit] for unit, number in found.groupdict().items() if number)
