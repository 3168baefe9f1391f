"""Sizes of memory as people write them. Pure."""

from __future__ import annotations

import re

EXAMPLES = "20GB or 16 GiB"
LARGEST_MIB = 1 << 40

_MIB = {"m": 1.0, "g": 1024.0, "t": 1024.0 * 1024.0}
_PATTERN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([MGT])i?B?", re.IGNORECASE | re.ASCII)


def memory_mib(value: object) -> int:
    """Return a size of memory in MiB.

    Memory is sold in powers of two: 24GB and 24 GiB both mean 24,576 MiB.

    Args:
        value: text with a unit, or the number 0.

    Raises:
        ValueError: it is none; the message is the end of a sentence (`must be …`).
    """
    if not isinstance(value, bool) and (value == 0 or value == "0"):
        return 0
    found = _PATTERN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        shown = getattr(value, "text", value)
        raise ValueError(f"must be a size with its unit such as {EXAMPLES}, not {str(shown)[:40]!r}")
    size = round(float(found[1]) * _MIB[found[2].lower()])
    if size > LARGEST_MIB:
        raise ValueError(f"must be a size such as {EXAMPLES}, and that is too large")
    return size
