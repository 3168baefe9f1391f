"""Log bytes to finished lines as a terminal would leave them: progress bars collapse to their last state. Pure."""

from __future__ import annotations

import codecs
import re

MAX_LINE = 10_000
"""Longest line given out, in characters; what goes beyond is cut and the line ends in "…"."""

_MAX_ESCAPE = 4096
"""An escape sequence longer than this is none: an unterminated one must not swallow the rest of a log."""

_TOKEN = re.compile(
    "(?P<text>[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]+"
    "|\t)"
    "|(?P<control>[\r\n\b])"
    "|(?P<escape>\x1b)"
    "|(?P<hidden>.)",
    re.DOTALL,
)
_ESCAPE = re.compile(
    "\x1b\\[(?P<params>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI
    "|\x1b[\\]PX^_][^\x07\x1b\n\r]*(?:\x07|\x1b\\\\)"  # OSC, DCS, SOS, PM, APC
    "|\x1b[ -/]*[0-OQ-WYZ`-~\\\\]"  # two characters, or with intermediates
)
_UNFINISHED = re.compile("\x1b(?:\\[[0-?]*[ -/]*|[\\]PX^_][^\x07\x1b\n\r]*\x1b?|[ -/]*)")
_BROKEN = re.compile("\x1b(?:\\[[0-?]*[ -/]*|[\\]PX^_]|[ -/]*)")


class LineCollapser:
    """Turns the bytes of one log into lines, piece by piece; how the bytes are cut into pieces changes nothing.

    A carriage return begins the line anew at the next character, a backspace steps back, `ESC [ K` erases, every other
    escape sequence, control or direction-changing character is dropped, undecodable bytes become U+FFFD. Cursor
    movements between lines are not followed: a finished line stays as it is. A line that was redrawn and then blanked
    (nested bars clean up behind themselves that way) is not given out.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._line = ""
        self._cursor = 0
        self._restart = False
        self._redrawn = False
        self._cut = False

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes and return the lines they finish, without their line ends."""
        return self._take(self._decoder.decode(data))

    def partial(self) -> str:
        """Return the unfinished line as it looks now: the state of a progress bar, or ""."""
        return self._shown()

    def finish(self) -> list[str]:
        """Return the unfinished line, if there is one, and begin anew: the log has ended."""
        held, self._held = self._held, ""
        broken = _BROKEN.match(held)
        lines = self._take((held[broken.end() :] if broken else held) + self._decoder.decode(b"", True))
        last = self._shown()
        self._decoder.reset()
        self._line, self._cursor = "", 0
        self._restart = self._redrawn = self._cut = False
        return [*lines, last] if last else lines

    def _take(self, text: str) -> list[str]:
        text = self._held + text
        self._held = ""
        lines: list[str] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            assert token is not None  # every character is in one of the groups
            at = token.end()
            if token["escape"]:
                after = self._escape(text, token.start())
                if after is None:
                    self._held = text[token.start() :]
                    break
                at = after
            elif token["text"]:
                self._write(token["text"])
            elif token["control"] == "\n":
                self._end_line(lines)
            elif token["control"]:
                self._move(token["control"])
            elif "\ud800" <= token["hidden"] <= "\udfff":
                self._write("\ufffd")
        return lines

    def _escape(self, text: str, start: int) -> int | None:
        """Obey or drop the escape sequence at start; return where it ends, None when its end has not come yet."""
        found = _ESCAPE.match(text, start)
        if found and found.end() - start <= _MAX_ESCAPE:
            if found["final"] == "K":
                self._erase(found["params"])
            return found.end()
        unfinished = _UNFINISHED.match(text, start)
        if unfinished and unfinished.end() == len(text) and len(text) - start < _MAX_ESCAPE:
            return None
        broken = _BROKEN.match(text, start)
        return broken.end() if broken else start + 1

    def _write(self, run: str) -> None:
        if self._restart:
            self._line, self._cursor, self._restart, self._cut = "", 0, False, False
        room = MAX_LINE - self._cursor
        if len(run) > room:
            run, self._cut = run[:room], True
        self._line = self._line[: self._cursor] + run + self._line[self._cursor + len(run) :]
        self._cursor += len(run)

    def _move(self, control: str) -> None:
        if control == "\r":
            self._restart = True
            self._redrawn = self._redrawn or bool(self._line)
        elif not self._restart:
            self._cursor = max(0, self._cursor - 1)

    def _erase(self, params: str) -> None:
        self._redrawn = True
        if self._restart or params == "2":
            self._line, self._cut = "", False
            self._cursor = 0
        elif params in ("", "0"):
            self._line = self._line[: self._cursor]

    def _end_line(self, lines: list[str]) -> None:
        shown = self._shown()
        if shown or not self._redrawn:
            lines.append(shown)
        self._line, self._cursor = "", 0
        self._restart = self._redrawn = self._cut = False

    def _shown(self) -> str:
        line = self._line.rstrip()
        return line[: MAX_LINE - 1] + "…" if self._cut else line
