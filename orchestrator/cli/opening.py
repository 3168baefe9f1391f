"""Opens the library for a command: which project, which hosts, who answers questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.api import Orch
from orchestrator.cli.ask import TerminalAsker
from orchestrator.cli.console import say
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import ConfigError
from orchestrator.hosts.inventory import HostEntry
from orchestrator.spec.expand import JobsFile, peek

JOBS_FILE = Path("jobs.yaml")


@contextmanager
def opened(file: JobsFile | None = None, *, accept_new: bool = False) -> Iterator[Orch]:
    """Yield the library for this folder's project.

    Args:
        file: the parsed jobs.yaml, when the command has one.
        accept_new: trust a host key met for the first time.
    """
    project, extra = (file.project, list(file.hosts.values())) if file else _this_folder()
    if GLOBALS.project:
        project = GLOBALS.project
    orch = Orch(
        folder=file.folder if file else Path.cwd(),
        project=None if GLOBALS.all_projects else project,
        asker=TerminalAsker(accept_new=accept_new),
        extra_hosts=extra,
    )
    try:
        yield orch
    finally:
        for host, jobs in orch.links.delivered.items():
            say(f"{host} was told to cancel {', '.join(jobs)}, as asked while it could not be reached")
        for host, jobs in orch.links.given.items():
            say(f"{host} was given the secrets that {', '.join(jobs)} waited for")
        orch.close()


def _this_folder() -> tuple[str | None, Sequence[HostEntry]]:
    try:
        return peek(JOBS_FILE)
    except ConfigError as error:
        if not GLOBALS.project and not GLOBALS.all_projects:
            say(f"note: {error.message}; going by the folder's name", "yellow")
        return peek(None)
