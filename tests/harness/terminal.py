"""A terminal a person sits at: the command line under a pseudo terminal, its screen as it would be seen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

import pyte

from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until

HISTORY = 5000
KEYS = {"ctrl-c": b"\x03", "ctrl-d": b"\x04", "ctrl-u": b"\x15", "enter": b"\r"}


class Terminal:
    """One `orch` command in a terminal of its own. A context manager; leaving it closes the terminal.

    Args:
        laptop: whose home, project folder and environment.
        words: the command's words.
        size: columns and rows.
        env: further variables of the environment; TERM is xterm-256color.
        argv: a whole command line instead of an orch command.

    Attributes:
        raw: every byte the terminal got.
    """

    def __init__(
        self,
        laptop: Laptop,
        *words: str,
        size: tuple[int, int] = (100, 30),
        env: Mapping[str, str] | None = None,
        argv: list[str] | None = None,
    ) -> None:
        columns, rows = size
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, rows, history=HISTORY, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._guard = threading.Lock()
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = laptop.environment({"TERM": "xterm-256color", **(env or {})})
        environment.pop("PYTHONUNBUFFERED")
        # The pseudo terminal becomes the controlling one, so that Ctrl-C and hanging up reach the whole foreground.
        self.process = subprocess.Popen(
            [*_TAKE_TERMINAL, *(argv or laptop.argv(*words))],
            cwd=laptop.folder, env=environment, stdin=far, stdout=far, stderr=far, start_new_session=True,
        )  # fmt: skip
        os.close(far)
        self._reader = threading.Thread(target=self._read, daemon=True, name="terminal-read")
        self._closing = threading.Event()
        self._reader.start()

    def _read(self) -> None:
        while not self._closing.is_set():
            ready, _, _ = select.select([self._near], [], [], 0.05)
            if not ready:
                continue
            try:
                data = os.read(self._near, 65536)
            except OSError:
                return
            if not data:
                return
            with self._guard:
                self.raw += data
                self._stream.feed(data)

    def screen(self) -> list[str]:
        """Return the rows as they look now, without blanks at their ends."""
        with self._guard:
            return [row.rstrip() for row in self._screen.display]

    def history(self) -> list[str]:
        """Return everything: the rows that scrolled away, then the screen."""
        with self._guard:
            columns = self._screen.columns
            gone = ["".join(row[column].data for column in range(columns)).rstrip() for row in self._screen.history.top]
            return [*gone, *(row.rstrip() for row in self._screen.display)]

    def cells(self) -> list[list[pyte.screens.Char]]:
        """Return everything as history() does, with colours: each row's characters up to the last that is no blank."""
        with self._guard:
            rows = [*self._screen.history.top, *(self._screen.buffer[n] for n in range(self._screen.lines))]
            filled = [[row[column] for column in range(self._screen.columns)] for row in rows]
        for row in filled:
            while row and row[-1].data == " ":
                row.pop()
        return filled

    def text(self) -> str:
        """Return everything as one text."""
        return "\n".join(self.history())

    def colour_of(self, word: str) -> str:
        """Return the colour in which a word on the screen begins ("default" when it has none)."""
        with self._guard:
            for row, line in enumerate(self._screen.display):
                if word in line:
                    return str(self._screen.buffer[row][line.index(word)].fg)
        raise AssertionError(f"{word!r} is not on the screen")

    def wait_for(self, wanted: str | Callable[[str], bool], timeout: float = 60.0) -> None:
        """Wait until a text was shown (on the screen or scrolled away), or a condition on all of it holds."""

        def seen() -> bool:
            text = self.text()
            return wanted in text if isinstance(wanted, str) else wanted(text)

        try:
            wait_until(seen, timeout)
        except AssertionError:
            raise AssertionError(f"not shown: {wanted!r}; shown is:\n{self.text().rstrip()}") from None

    def press(self, key: str) -> None:
        """Press a key by name (ctrl-c, enter), or type a text."""
        os.write(self._near, KEYS.get(key, key.encode()))

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for the command's end; return its exit code (minus the signal that ended it)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running; shown is:\n{self.text().rstrip()}") from None
        self._reader.join(5)
        return code

    def hang_up(self) -> None:
        """Close the terminal's window: whoever is in the foreground gets SIGHUP."""
        self._closing.set()
        self._reader.join(5)
        with contextlib.suppress(OSError):
            os.close(self._near)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


_TAKE_TERMINAL = [
    sys.executable,
    "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])",
]
