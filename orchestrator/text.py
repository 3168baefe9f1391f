"""Making text that came from a host harmless before it is shown. Pure."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    "|\x1b[\\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\\\)?"  # OSC, DCS, SOS, PM, APC: titles, links, clipboard
    "|\x1b[ -/]*[0-~]?"  # every other escape, or a lone ESC
)
_BLANKS = re.compile("[\r\n\t\x0b\x0c\x85\u2028\u2029]+")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f"  # C0 but for the blanks above, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides, isolates
    "\ufeff\U000e0000-\U000e007f]"  # byte order mark, invisible tags
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def neutralise(text: str, *, lines: bool = False) -> str:
    """Return text that can change neither the terminal nor the reading direction.

    Args:
        text: anything a host sent: a name, a message, the end of a log.
        lines: keep line breaks and tabs; by default each becomes one blank, so that a name cannot draw a second row.

    Returns:
        The text without ANSI sequences, C0 and C1 controls, bidirectional and invisible marks; lone surrogates
        (undecodable bytes) are replaced by U+FFFD, so the result can always be encoded.
    """
    text = _ESCAPES.sub("", text)
    text = _LINE_ENDS.sub("\n", text) if lines else _BLANKS.sub(" ", text)
    return _SURROGATES.sub("\ufffd", _HIDDEN.sub("", text))
