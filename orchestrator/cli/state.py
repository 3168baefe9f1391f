"""The options that every command understands, wherever on the line they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass
class Globals:
    """Options of the whole program.

    Args:
        json: print machine-readable JSON on stdout.
        quiet: only results and errors.
        verbose: the debug log on stderr.
        project: look at this project instead of this folder's.
        all_projects: look at every project.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    project: str | None = None
    all_projects: bool = False


GLOBALS = Globals()


class Drawing(Protocol):
    """Something that redraws a part of the terminal again and again."""

    def start(self) -> None:
        """Begin, or begin again."""

    def stop(self) -> None:
        """Take it off the terminal."""


_DRAWN: list[Drawing] = []


@contextmanager
def drawn(drawing: Drawing) -> Iterator[None]:
    """Draw while inside; whoever has a question meanwhile gets the terminal for it."""
    _DRAWN.append(drawing)
    drawing.start()
    try:
        yield
    finally:
        _DRAWN.remove(drawing)
        drawing.stop()


@contextmanager
def undrawn() -> Iterator[None]:
    """Have the terminal without anything drawn on it while inside."""
    paused = list(_DRAWN)
    for drawing in reversed(paused):
        drawing.stop()
    try:
        yield
    finally:
        for drawing in paused:
            if drawing in _DRAWN:
                drawing.start()


_FLAGS = {"--json", "-q", "--quiet", "-v", "--verbose", "-A", "--all-projects"}
_VALUED = {"-p", "--project"}
_COMMANDS = {"run": {"--host", "--env", "--gpus", "--name"}, "exec": set[str]()}
"""Verbs that end in somebody else's command line, and their options that take a value."""


def hoist(argv: Sequence[str]) -> list[str]:
    """Return the command line with the global options moved to the front.

    What follows `--` is left alone, and so is what follows the first plain word of `run` and `exec`: in
    `orch exec box nvidia-smi -q` the -q is nvidia-smi's.
    """
    front: list[str] = []
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        plain = not word.startswith("-")
        if word == "--" or (plain and rest and rest[0] in _COMMANDS):
            rest += [word, *words]
            break
        if rest and word in _COMMANDS.get(rest[0], ()):
            rest += [word, *words[:1]]
            del words[:1]
            continue
        if word in _FLAGS or word.startswith("--project="):
            front.append(word)
        elif word in _VALUED and words:
            front += [word, words.pop(0)]
        else:
            rest.append(word)
    return front + rest
