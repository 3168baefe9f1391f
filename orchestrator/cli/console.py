"""Where output goes: results on stdout, everything else on stderr; remote text is never markup."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from orchestrator.cli.state import GLOBALS
from orchestrator.text import neutralise

NO_TERMINAL_WIDTH = 500
"""Columns where no terminal is there to be too narrow: what goes into a file or a pipe is not broken."""


def _console(stream: Any, *, stderr: bool) -> Console:
    narrow = "COLUMNS" in os.environ or (stream is not None and stream.isatty())
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if narrow else NO_TERMINAL_WIDTH)


OUT = _console(sys.stdout, stderr=False)
ERR = _console(sys.stderr, stderr=True)

STATE_STYLE = {
    "PENDING": "yellow",
    "STARTING": "cyan",
    "RUNNING": "green",
    "CANCELLING": "magenta",
    "SUCCEEDED": "bold green",
    "FAILED": "bold red",
    "CANCELLED": "magenta",
    "LOST": "bold red",
}
PALETTE = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")


def emit(value: Any) -> None:
    """Print one JSON document on stdout, on one line: UTF-8, or plain ASCII where stdout has another encoding."""
    # Another encoding would turn what it lacks into escapes that are not JSON's.
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=not unicode, default=str) + "\n")
    sys.stdout.flush()


def of_host(name: str, message: str) -> str:
    """Return what is wrong with a host, its name in front, once."""
    return message if re.match(rf"{re.escape(name)}\b", message) else f"{name}: {message}"


def say(text: str, style: str = "") -> None:
    """Tell the person something on stderr, unless they asked for quiet."""
    if not GLOBALS.quiet:
        ERR.print(Text(neutralise(text), style=style))


def complain(text: str, style: str = "red") -> None:
    """Tell the person on stderr what went wrong, although they asked for quiet."""
    ERR.print(Text(neutralise(text), style=style))


def print_lines(console: Console, name: str, colour: str, lines: Sequence[str], style: str = "") -> None:
    """Print clean lines under a job's name, all in one write: what is drawn below them is redrawn once.

    Args:
        name: stands before each line, in its colour; "" for none.
        style: of the lines.
    """
    prefix = name + _separator(console) if name else ""
    if not console.is_terminal:
        console.file.write("".join([f"{prefix}{line}\n" for line in lines]))
        console.file.flush()
        return
    head, body = Segment(prefix, console.get_style(colour)), console.get_style(style or "none")
    # Segments and not Text: nothing is measured or wrapped, and a job may print faster than that would go.
    parts = [part for line in lines for part in (head, Segment(line.expandtabs() + "\n", body))]
    console.print(Segments(parts), end="", soft_wrap=True)


def _separator(console: Console) -> str:
    """Return what stands between a job's name and its line: a rule, where the terminal can show one."""
    try:
        "│".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return " | "
    return " │ "


def near(path: Path) -> str:
    """Return a path as it is shortest from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def plain(text: object, style: str = "") -> Text:
    """Return text that is shown as it is: no markup, no control characters."""
    return Text(neutralise(str(text)), style=style)


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=STATE_STYLE.get(state, ""))


def table(title: str, columns: Sequence[str], rows: Iterable[Iterable[object]], *, width: int = 0) -> Table:
    """Return a table of plain cells; Text cells keep their style. Columns where nothing stands are left out.

    Args:
        width: columns of the terminal, where each row must be one line: the last cell is cut to what is left.
    """
    texts = [[cell if isinstance(cell, Text) else plain(cell) for cell in row] for row in rows]
    used = [n for n in range(len(columns)) if not texts or any(row[n].plain for row in texts)]
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    made.show_header = any(columns)
    for n in used:
        made.add_column(columns[n], overflow="fold", no_wrap=bool(width))
    if width and used:
        left = width - sum(max(cell_len(columns[n]), *(row[n].cell_len for row in texts), 0) + 2 for n in used[:-1])
        for row in texts:
            row[used[-1]].truncate(max(left, 1), overflow="ellipsis")
    for row in texts:
        made.add_row(*(row[n] for n in used))
    return made


def size(count: float) -> str:
    """Return bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def counted(number: int, noun: str) -> str:
    """Return a number of things for people: 1 file, 2 files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a time span for people: 42s, 3m10s, 2h05m, 4d3h."""
    if seconds is None:
        return ""
    whole = int(max(seconds, 0))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"
