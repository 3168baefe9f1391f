"""Code to the host: a first time, with nothing changed, and with one file changed, beside `rsync -az`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from bench import trees
from bench.place import NAME as HOST
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size

NAME = "sync"
MOST_AGAIN, MOST_FIRST = 0.8, 1.0
MANY, MANY_BYTES = 20_000, 20_000
PEER = "rsync -az --delete"
JOB = "jobs: {t: {run: 'true', resources: {gpus: 0}, pull: never}}\n"


def measure(size: Size) -> Iterator[Row]:
    """Yield the times of both, in turn."""
    if shutil.which("rsync") is None:
        yield Row("sync", [], "s", PEER, missing=True, note="rsync is not installed")
        return
    trees_told = f"{size.files:,} files"
    with place() as host:
        host.project(JOB)
        host.add()
        yield _first(host, size.files, size.file_bytes, size.runs)
        yield _again(host, f"sync of {trees_told}, unchanged", size.runs, edit=False)
        yield _again(host, f"sync of {trees_told}, one changed", size.runs, edit=True)
    if not size.quick:
        with place() as host:
            host.project(JOB)
            host.add()
            yield _first(host, MANY, MANY_BYTES, 3)


def _first(host: Place, files: int, file_bytes: int, runs: int) -> Row:
    ours, theirs = [], []
    for number in range(runs):
        trees.fill(host.laptop.folder, files, file_bytes, number)
        ours.append(_orch(host))
        theirs.append(_rsync(host, f"first-{number}"))
    return Row(f"first sync of {files:,} files, {files * file_bytes / 1e6:.0f} MB", ours, "s", PEER, theirs,
               most_ratio=MOST_FIRST, note="every content is new each time; orch submit --prepare")  # fmt: skip


def _again(host: Place, what: str, runs: int, *, edit: bool) -> Row:
    ours, theirs = [], []
    _rsync(host, "again")
    for number in range(runs):
        if edit:
            trees.change_one(host.laptop.folder, number)
        ours.append(_orch(host))
        theirs.append(_rsync(host, "again"))
    return Row(what, ours, "s", PEER, theirs, most_ratio=MOST_AGAIN, note="orch submit --prepare")


def _orch(host: Place) -> float:
    return host.orch("submit", "--prepare", "-y").seconds


def _rsync(host: Place, folder: str) -> float:
    return host.peer(*host.rsync, "--delete", "./", f"{HOST}:{host.scratch}/{folder}/").seconds
