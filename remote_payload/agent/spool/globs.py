"""Patterns of `outputs`: `*`, `?`, `[…]` within a name, `**` over folders. Pure."""

from __future__ import annotations

import re
from typing import List


def compile_glob(pattern: str) -> "re.Pattern[str]":
    """Return what matches the paths a pattern means: what it names itself, and all that lies below a folder it names.

    Args:
        pattern: relative to the workdir, parts separated by `/`; a leading `./` and a trailing `/` are passed over.

    Raises:
        ValueError: it is empty, absolute or leads upwards.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith(("/", "~")) or ".." in parts or (not parts and pattern.strip("./")):
        raise ValueError("it leads out of the workdir")
    if not pattern:
        raise ValueError("it is empty")
    return re.compile("".join(_joined(parts)) + r"(?:/.*)?", re.DOTALL)


def _joined(parts: List[str]) -> List[str]:
    if not parts:
        return [".*"]
    text: List[str] = []
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            text.append(".*" if last else "(?:.*/)?")
        else:
            text.append(_part(part) + ("" if last else "/"))
    return text


def _part(part: str) -> str:
    text = []
    at = 0
    while at < len(part):
        char = part[at]
        close = _set_end(part, at) if char == "[" else -1
        if char == "*":
            text.append("[^/]*")
        elif char == "?":
            text.append("[^/]")
        elif close > 0:
            text.append(_set(part[at + 1 : close]))
            at = close
        else:
            text.append(re.escape(char))
        at += 1
    return "".join(text)


def _set_end(part: str, at: int) -> int:
    """Return where the set that begins at `at` is closed, -1 when it is not: then `[` is an ordinary character."""
    begin = at + 2 if part[at + 1 : at + 2] in ("!", "^") else at + 1
    return part.find("]", begin + 1)


def _set(inside: str) -> str:
    negated = inside[0] in "!^"
    chars = inside[1:] if negated else inside
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", chars)
    try:
        re.compile("[" + escaped + "]")
    except re.error:  # a range whose end comes before its start
        escaped = re.escape(chars)
    return "(?!/)[" + ("^" if negated else "") + escaped + "]"
