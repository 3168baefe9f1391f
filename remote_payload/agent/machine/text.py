"""Making what other programs print harmless before it is stored or sent. Pure."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    "|\x1b[\\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\\\)?"  # OSC, DCS, SOS, PM, APC
    "|\x1b[ -/]*[0-~]?"  # every other escape, or a lone ESC
)
_HIDDEN = re.compile("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_BREAKS = re.compile("[\x85\u2028\u2029]")


def neutralise(data: bytes) -> str:
    r"""Return bytes of a log as text without ANSI sequences and hidden characters.

    Kept are line feed, carriage return, tab and backspace, because they say how a progress line is redrawn;
    undecodable bytes become U+FFFD.
    """
    text = _BREAKS.sub("\n", data.decode("utf-8", "replace"))
    return _HIDDEN.sub("", _ESCAPES.sub("", text))


def one_line(data: bytes, limit: int = 200) -> str:
    """Return bytes as one short harmless line, for error messages.

    Args:
        data: what a program printed.
        limit: longest result, in characters; a longer text ends in "…".
    """
    text = " ".join(neutralise(data).replace("\b", "").split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
