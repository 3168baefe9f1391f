"""One line of a .gitignore file as a regular expression, with git's own meaning. Pure.

Facts: gitignore(5), and git's dir.c (parse_path_pattern, match_pathname) and wildmatch.c. pathspec's translation lets a
pattern match everything below a folder and lets `a/**` match `a` itself; a walk that asks about each folder on its way
down needs the exact answer for one path, so that `!` brings back what git brings back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NEVER = "(?!)"


@dataclass(frozen=True)
class Line:
    """One pattern.

    Args:
        text: as it was written, for people.
        negated: it brings back (`!`).
        folders_only: it ends in a slash.
        by_name: it has no other slash, so it is matched with the last part of a path only.
        regex: source of the expression, to be used with fullmatch and DOTALL.
        segments: the parts between slashes, for asking whether something below a folder could match.
    """

    text: str
    negated: bool
    folders_only: bool
    by_name: bool
    regex: str
    segments: tuple[str, ...]


def parse(text: str) -> Line | None:
    """Return the pattern a line holds, or None for blank lines, comments and what git ignores as malformed."""
    text = _strip_spaces(text.removesuffix("\r"))
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    body = text[1:] if negated else text
    folders_only = body.endswith("/")
    if folders_only:
        body = body[:-1]
    by_name = "/" not in body
    body = body.removeprefix("/")
    regex = translate(body)
    if not body or regex == _NEVER:
        return None
    return Line(text, negated, folders_only, by_name, regex, tuple(body.split("/")))


def _strip_spaces(text: str) -> str:
    """Remove trailing blanks, but not one that a backslash keeps."""
    bare = text.rstrip(" ")
    if len(bare) == len(text):
        return text
    slashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if slashes % 2 else bare


def translate(pattern: str) -> str:
    """Return a regular expression for a wildmatch pattern whose `*` and `?` stop at slashes."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            piece, at = _stars(pattern, at)
        elif char == "?":
            piece, at = "[^/]", at + 1
        elif char == "[":
            piece, at = _bracket(pattern, at)
        elif char == "\\":
            if at + 1 == len(pattern):
                return _NEVER
            piece, at = re.escape(pattern[at + 1]), at + 2
        else:
            piece, at = re.escape(char), at + 1
        if piece == _NEVER:
            return _NEVER
        out.append(piece)
    return "".join(out)


def _stars(pattern: str, at: int) -> tuple[str, int]:
    stop = at
    while stop < len(pattern) and pattern[stop] == "*":
        stop += 1
    # git compares the text before the first wildcard by itself and matches the rest as a pattern of its own, so there
    # `**` counts as standing at the start.
    alone_before = at == 0 or pattern[at - 1] == "/" or not re.search(r"[*?\[\\]", pattern[:at])
    if stop - at >= 2 and alone_before:
        if stop == len(pattern):
            return ".*", stop
        if pattern[stop] == "/":
            return "(?:.*/)?", stop + 1
    return "[^/]*", stop


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    """Translate `[…]`; one that does not end, or holds an unknown class, never matches."""
    at += 1
    negated = at < len(pattern) and pattern[at] in "!^"
    at += negated
    items: list[str] = []
    first = True
    while at < len(pattern):
        char = pattern[at]
        if char == "]" and not first:
            return _finish_bracket(items, negated), at + 1
        first = False
        if pattern.startswith("[:", at):
            end = pattern.find(":]", at + 2)
            name = pattern[at + 2 : end] if end > 0 else ""
            if end > 0 and "]" not in name:
                if name not in _CLASSES:
                    return _NEVER, len(pattern)
                items.append(_CLASSES[name])
                at = end + 2
                continue
        low, at = _member(pattern, at)
        if low is None:
            break
        if at + 1 < len(pattern) and pattern[at] == "-" and pattern[at + 1] != "]":
            high, at = _member(pattern, at + 1)
            if high is None:
                break
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    return _NEVER, len(pattern)


def _member(pattern: str, at: int) -> tuple[str | None, int]:
    if pattern[at] != "\\":
        return pattern[at], at + 1
    if at + 1 == len(pattern):
        return None, at
    return pattern[at + 1], at + 2


def _finish_bracket(items: list[str], negated: bool) -> str:
    if negated:
        return f"[^/{''.join(items)}]"
    return f"(?!/)[{''.join(items)}]" if items else "(?!/)(?!)"
