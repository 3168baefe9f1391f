"""Small helpers for sentences: the nearest name, lists in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, else ""."""
    names = sorted(set(known))
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), list(by_lower), 1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def listed(words: Iterable[str], limit: int = 12) -> str:
    """Return words with commas; past the limit only how many more there are."""
    names = list(words)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def counted(number: int, one: str, many: str) -> str:
    """Return `1 job` or `3 jobs`."""
    return f"{number} {one if number == 1 else many}"
