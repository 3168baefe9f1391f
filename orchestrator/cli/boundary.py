"""The one place where errors end: a sentence and a next step for people, a distinct exit code for scripts."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_BUG, EXIT_INTERRUPT, EXIT_OK, OrchError

P = ParamSpec("P")


def command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Make a verb of a function that returns its exit code: its errors are reported here, not by the parser."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs)
            sys.stdout.flush()
        except BaseException as error:
            code = report(error)
        # All is said and closed: another Ctrl-C while the interpreter ends needs no traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.exit(code or 0)

    return run


def report(error: BaseException) -> int:
    """Say what went wrong on stderr and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return EXIT_INTERRUPT
    if isinstance(error, BrokenPipeError):
        _drop_stdout()
        return EXIT_OK
    if isinstance(error, OrchError):
        _say_error(error)
        return error.exit_code
    return _bug(error)


def _drop_stdout() -> None:
    """`orch logs | head`: the reader has had enough, and what is still buffered must not complain at exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _say_error(error: OrchError) -> None:
    from orchestrator.text import neutralise

    if GLOBALS.json:
        text = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        sys.stderr.write(json.dumps({"error": text}, ensure_ascii=False) + "\n")
        return
    _say(f"error: {neutralise(error.message)}")
    for line in error.hint.splitlines():
        sys.stderr.write(f"  {neutralise(line)}\n")


def _bug(error: BaseException) -> int:
    text = "".join(traceback.format_exception(error))
    if GLOBALS.verbose:
        sys.stderr.write(text)
    with tempfile.NamedTemporaryFile("w", prefix="orch-bug-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(text)
    _say(f"bug in orch: {type(error).__name__}: {error}")
    sys.stderr.write(f"  Please report it with {Path(file.name)}; your jobs are not affected.\n")
    return EXIT_BUG


def _say(text: str) -> None:
    sys.stderr.write(f"orch: {text}\n")
