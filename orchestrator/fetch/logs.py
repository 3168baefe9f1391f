"""The logs of a job's attempts and its job.json: the only results that grow in place."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from orchestrator.fetch.folder import JOB_FILE, JobFolder, read_view, rename_new, replace_text
from orchestrator.fetch.names import for_attempt
from orchestrator.fetch.source import ResultSource
from remote_payload.agent.wire.messages import JobView

T = TypeVar("T")
LOG = "log"
OVERLAP = 4096
"""Bytes of a log that is here already which are compared with the host's before more is appended."""


def write_view(folder: JobFolder, view: JobView, host: str) -> None:
    """Write job.json: the job as the host last told it, and the host's name.

    The newest attempt's log is called `log`; when a later attempt is there now, the older one's file is renamed first.
    """
    path = folder.path / JOB_FILE
    known = read_view(path)
    before = known.get("attempt") if known else None
    now: object = view["attempt"]
    log = folder.path / LOG
    if type(before) is int and type(now) is int and 0 < before < now and log.exists():
        rename_new(log, folder.path / f"{LOG}.{before}")
    replace_text(path, json.dumps({**view, "host": host}, indent=1, sort_keys=True) + "\n")


def pull_logs(
    source: ResultSource, view: JobView, folder: JobFolder, moved: Callable[[int], None], warnings: list[str]
) -> None:
    """Bring every attempt's log here, `log` for the newest and `log.<n>` for earlier ones.

    Args:
        moved: called with the number of new bytes.
        warnings: gets a sentence for a log that could not be gone on with.

    Raises:
        HostError: the host or the line failed; a later pull goes on.
        OSError: this computer cannot write.
    """
    for attempt in view["attempts"]:
        number, size = attempt["number"], attempt["log_size"]
        if not (_is_count(number) and number and _is_count(size)):
            warnings.append("the host told of an attempt that cannot be")
            continue
        name = LOG if number == view["attempt"] else f"{LOG}.{number}"
        if not _pull_log(source, view["id"], number, size, folder.path / name, moved):
            other = next(path for path in map(folder.path.joinpath, for_attempt(name, number)) if _fits(path, size))
            warnings.append(f"{name} here is another log, so attempt {number}'s went to {other.name}")
            if not _pull_log(source, view["id"], number, size, other, moved):
                warnings.append(f"{other.name} here is another log too; attempt {number}'s was not pulled")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


@contextmanager
def stopping(pieces: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close an iterator that can be closed: the host then stops sending."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


def _fits(path: Path, size: int) -> bool:
    return not os.path.lexists(path) or (path.is_file() and not path.is_symlink() and path.stat().st_size <= size)


def _pull_log(
    source: ResultSource, job: str, attempt: int, size: int, path: Path, moved: Callable[[int], None]
) -> bool:
    """Append what is missing of a log; returns False when the file here is not the beginning of it."""
    if not os.path.lexists(path):
        path.touch()
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > size:
        return False
    if size == 0:
        return True
    start = max(0, status.st_size - OVERLAP)
    with path.open("r+b") as file, stopping(source.follow(job, attempt=attempt, offset=start)) as pieces:
        file.seek(start)
        known = file.read()
        at = start
        for piece in pieces:
            if piece.attempt != attempt or piece.end is not None or piece.offset != at:
                break
            compared = min(len(known), len(piece.data))
            if piece.data[:compared] != known[:compared]:
                return False
            known = known[compared:]
            new = piece.data[compared : compared + max(0, size - at - compared)]
            file.write(new)
            moved(len(new))
            at += len(piece.data)
            if at >= size:
                break
    return not known
