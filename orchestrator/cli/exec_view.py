"""`orch exec`: one command on many hosts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from orchestrator.cli.console import emit, of_host
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_OK, UsageError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.link_host import ExecRun
from orchestrator.text import neutralise
from orchestrator.watch.collapse import LineCollapser

HOST_TROUBLE = 255


def execute(words: Sequence[str], everywhere: bool, accept_new: bool) -> int:
    """Do `orch exec`: returns the command's own code (the highest of several hosts), 255 for a host's trouble."""
    hosts, argv = _split(words, everywhere)
    with opened(accept_new=accept_new) as orch:
        names = [entry.name for entry in orch.hosts(hosts)]
        prefix = len(names) > 1
        answers = orch.ask(lambda link: _run(link, argv, prefix), names, deadline=float("inf"))
        codes = []
        for name, answer in answers.items():
            if answer.error:
                said = [f"orch: {of_host(name, answer.error.message)}", *answer.error.hint.splitlines()]
                sys.stderr.write("\n  ".join(map(neutralise, said)) + "\n")
            codes.append(HOST_TROUBLE if answer.value is None else answer.value)
            if GLOBALS.json:
                emit({"host": name, "exit_code": codes[-1]})
        return max(codes, default=EXIT_OK)


def _split(words: Sequence[str], everywhere: bool) -> tuple[list[str], list[str]]:
    if "--" in words:
        at = list(words).index("--")
        hosts, argv = list(words[:at]), list(words[at + 1 :])
    elif everywhere:
        hosts, argv = [], list(words)
    else:
        hosts, argv = list(words[:1]), list(words[1:])
    if not argv:
        raise UsageError("no command to run", "orch exec HOST -- nvidia-smi")
    if not hosts and not everywhere:
        raise UsageError("on which host?", "orch exec HOST -- CMD, or --all")
    return hosts, argv


def _run(link: AgentLink, argv: list[str], prefix: bool) -> int:
    running = link.exec(argv)
    if not prefix and not GLOBALS.json:
        # One host: the bytes as they come, as ssh would print them.
        for fd, data in running:
            os.write(fd, data)
        return _code(running)
    lines = {1: LineCollapser(), 2: LineCollapser()}
    for fd, data in running:
        for line in lines[fd].feed(data):
            _print(link.name, fd, line)
    for fd, collapser in lines.items():
        if collapser.partial():
            _print(link.name, fd, collapser.partial())
    return _code(running)


def _code(run: ExecRun) -> int:
    return run.exit_code if run.exit_code is not None else 128 + (run.signal or 0)


def _print(host: str, fd: int, line: str) -> None:
    if GLOBALS.json:
        emit({"host": host, "fd": fd, "line": line})
        return
    stream: TextIO = sys.stdout if fd == 1 else sys.stderr
    stream.write(f"{host} │ {line}\n")
    stream.flush()
