"""The options that every command understands, wherever on the line they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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

_FLAGS = {"--json", "-q", "--quiet", "-v", "--verbose", "-A", "--all-projects"}
_VALUED = {"-p", "--project"}


def hoist(argv: Sequence[str]) -> list[str]:
    """Return the command line with the global options moved to the front; what follows `--` is left alone."""
    front: list[str] = []
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += ["--", *words]
            break
        if word in _FLAGS or word.startswith("--project="):
            front.append(word)
        elif word in _VALUED and words:
            front += [word, words.pop(0)]
        else:
            rest.append(word)
    return front + rest
