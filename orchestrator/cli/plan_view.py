"""What a submit would send, shown before it is sent, and the bar while it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from orchestrator.api.freeze import Frozen
from orchestrator.api.submit import SentBytes
from orchestrator.cli.console import ERR, OUT, counted, emit, say, size, table
from orchestrator.cli.state import GLOBALS, drawn
from orchestrator.ship.scan import Tree

SHOWN = 8
"""Left-out paths shown unless the whole list was asked for."""


def show_plan(frozen: Frozen, *, listing: bool) -> None:
    """Show what is sent: files, bytes, what was left out and by which rule.

    Args:
        listing: also print jobs and every file on stdout (`--dry-run`).
    """
    for tree in frozen.trees.values():
        _show_tree(tree, everything=listing)
    if listing:
        _list(frozen)


def _show_tree(tree: Tree, *, everything: bool) -> None:
    say(f"code: {counted(tree.total_files, 'file')}, {size(tree.total_bytes)} (snapshot {tree.snapshot_id[:12]})")
    rows = tree.left_out if everything else tree.left_out[:SHOWN]
    for row in rows:
        say(f"  left out {row.path}  ({row.rule})", "dim")
    if len(tree.left_out) > len(rows):
        say(f"  left out {len(tree.left_out) - len(rows)} more (--dry-run lists them)", "dim")
    for path in tree.crlf_fixed:
        say(f"  {path}: CRLF line ends are sent as LF", "dim")
    for warning in tree.warnings:
        say(f"warning: {warning}", "yellow")


def _list(frozen: Frozen) -> None:
    jobs = [
        {
            "name": job.spec["name"],
            "params": job.spec["params"],
            "hosts": list(job.hosts),
            "gpus": job.spec["gpus"],
            "run": job.spec["run"],
        }
        for job in frozen.jobs
    ]
    trees = frozen.trees
    files = [
        {"path": entry["p"], "bytes": entry.get("s", 0)}
        for tree in trees.values()
        for entry in tree.manifest["entries"]
        if entry["t"] == "f"
    ]
    if GLOBALS.json:
        emit({"jobs": jobs, "files": files, "bytes": sum(tree.total_bytes for tree in trees.values())})
        return
    rows = [
        (job.spec["name"], ", ".join(job.hosts), job.spec["gpus"], job.spec["run"].strip()[:100]) for job in frozen.jobs
    ]
    OUT.print(table("", ("job", "host", "gpus", "run"), rows))
    OUT.print(table("", ("bytes", "file"), [(entry["bytes"], entry["path"]) for entry in files]))


@contextmanager
def upload_bar() -> Iterator[SentBytes]:
    """Yield a callback that draws one bar per host while code goes over; nothing is drawn when nothing is sent."""
    if GLOBALS.quiet or not ERR.is_terminal:
        yield lambda host, done, total: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=ERR,
        transient=True,
    )
    tasks: dict[str, int] = {}

    def told(host: str, done: int, total: int) -> None:
        if host not in tasks:
            tasks[host] = bar.add_task(f"sending code to {host}", total=total)
        bar.update(tasks[host], completed=done, total=total)  # type: ignore[arg-type]

    with drawn(bar):
        yield told
