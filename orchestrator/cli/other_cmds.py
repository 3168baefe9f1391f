"""Verbs that are neither about one job nor one host. Parsing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import complete
from orchestrator.cli.boundary import command


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the program."""
    for verb in (demo, schema, gc):
        app.command()(command(verb))


def demo(
    host: Annotated[
        str | None, typer.Option("--host", help="A host of the inventory.", autocompletion=complete.hosts)
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="Where the example is written and run.")] = None,
) -> int:
    """See it work: the example on a host started here for it.

    It needs an OpenSSH server program on this machine; with --host it runs on one of yours.
    """
    from orchestrator.cli import demo_view

    return demo_view.demo(host, folder)


def schema() -> int:
    """Print the JSON Schema of jobs.yaml, for editors."""
    from orchestrator.cli import small_views

    return small_views.schema()


def gc(
    host: Annotated[
        list[str] | None, typer.Option("--host", help="Only this host.", autocompletion=complete.hosts)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go.")] = False,
    unpulled: Annotated[bool, typer.Option("--unpulled", help="Also outputs nobody has pulled.")] = False,
    older_than: Annotated[str, typer.Option("--older-than", help="Only what ended longer ago than this.")] = "7d",
) -> int:
    """Free disk on the hosts.

    Workdirs of jobs whose results came home, code that no job needs, old agents. What was not pulled stays.
    """
    from orchestrator.cli import small_views

    return small_views.gc(host or [], dry_run, unpulled, older_than)
