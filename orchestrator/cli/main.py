"""The command line: parses, calls one small function per verb, turns every error into a sentence and an exit code."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from orchestrator import __version__
from orchestrator.cli import host_cmds, job_cmds, look_cmds, other_cmds
from orchestrator.cli.boundary import report
from orchestrator.cli.state import GLOBALS, hoist

app = typer.Typer(
    name="orch",
    help="Run training on GPU machines that you reach only by SSH.",
    epilog="--json, -q, -v, -p and -A may stand anywhere on the line. `orch demo` shows it work on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
job_cmds.register(app)
look_cmds.register(app)
host_cmds.register(app)
other_cmds.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"orch {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the debug log on stderr.")] = False,
    project: Annotated[
        str | None, typer.Option("--project", "-p", metavar="NAME", help="Another project than this folder's.")
    ] = None,
    all_projects: Annotated[bool, typer.Option("--all-projects", "-A", help="Look at every project.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    GLOBALS.json, GLOBALS.quiet, GLOBALS.verbose = json, quiet, verbose
    GLOBALS.project, GLOBALS.all_projects = project, all_projects
    if verbose:
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s: %(message)s")


def main(argv: list[str] | None = None) -> None:
    """Run `orch` with the given words (by default the process's) and exit with its code."""
    # Importing makes many objects that stay: collecting garbage among them is a fifth of a short command's time.
    gc.set_threshold(50_000, 20, 100)
    words = hoist(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A GBK or ASCII terminal must not end a command: what it cannot show is shown as an escape.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(words, prog_name="orch")
    except BaseException as error:
        sys.exit(report(error))


if __name__ == "__main__":
    main()
