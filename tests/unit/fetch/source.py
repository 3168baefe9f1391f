"""A host that is a folder: the methods a pull needs, with cuts and lies on demand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.errors import UnreachableError
from remote_payload.agent.wire.messages import AttemptView, JobView, OutputFile, OutputList


class FilePiece(NamedTuple):
    n: int
    offset: int
    data: bytes


class LogPiece(NamedTuple):
    attempt: int
    offset: int
    data: bytes
    end: Any = None


@dataclass
class FolderSource:
    """Serves <folder>/workdir, <folder>/outputs and <folder>/log.<attempt>.

    Args:
        chunk: bytes in one piece.
        cut_after: bytes after which the line is lost, None = never.
    """

    folder: Path
    chunk: int = 1000
    cut_after: int | None = None
    attempt: int = 1
    name: str = "box"
    sent: int = 0
    marked: list[tuple[str, int, str]] = field(default_factory=list)
    change: Callable[[OutputList], None] = lambda listed: None

    def outputs(self, job: str) -> OutputList:
        files: list[OutputFile] = []
        for root in ("workdir", "outputs"):
            base = self.folder / root
            for path in sorted(base.rglob("*")):
                if path.is_dir() and not path.is_symlink():
                    continue
                files.append(self._entry(root, base, path))
        listed: OutputList = {"files": files, "left_out": [], "attempt": self.attempt, "log_size": 0}
        self.change(listed)
        return listed

    def _entry(self, root: str, base: Path, path: Path) -> OutputFile:
        link = str(path.readlink()) if path.is_symlink() else None
        data = b"" if link is not None else path.read_bytes()
        return {
            "root": root,
            "path": os.fsencode(path.relative_to(base)).decode("utf-8", "surrogateescape"),
            "size": len(data),
            "mtime": path.lstat().st_mtime,
            "executable": bool(path.lstat().st_mode & 0o100) and link is None,
            "sha256": hashlib.sha256(data).hexdigest(),
            "link": link,
        }

    def read_files(self, job: str, files: Sequence[tuple[str, str, int]]) -> Iterator[FilePiece]:
        for n, (root, path, offset) in enumerate(files):
            data = (self.folder / root / os.fsdecode(path.encode("utf-8", "surrogateescape"))).read_bytes()
            for at in range(offset, len(data), self.chunk):
                yield FilePiece(n, at, self._take(data[at : at + self.chunk]))

    def follow(self, job: str, attempt: int = 0, offset: int = 0) -> Iterator[LogPiece]:
        data = (self.folder / f"log.{attempt}").read_bytes()
        for at in range(offset, len(data), self.chunk):
            yield LogPiece(attempt, at, self._take(data[at : at + self.chunk]))
        yield LogPiece(attempt, len(data), b"", {})

    def _take(self, data: bytes) -> bytes:
        if self.cut_after is not None and self.sent + len(data) > self.cut_after:
            raise UnreachableError("the line was lost", host=self.name)
        self.sent += len(data)
        return data

    def pulled(self, job: str, attempt: int, to: str) -> None:
        self.marked.append((job, attempt, to))


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Write files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def attempt_view(number: int, log_size: int) -> AttemptView:
    return {
        "number": number,
        "state": "SUCCEEDED",
        "reason": "exit_zero",
        "detail": "",
        "exit_code": 0,
        "signal": None,
        "started_at": 100.0,
        "ended_at": 102.5,
        "gpus": [],
        "log_size": log_size,
        "environment": {},
    }


def job_view(source: FolderSource, state: str = "SUCCEEDED", name: str = "train", job: str = "j-1") -> JobView:
    """Return the view of the source's job, with all its attempts."""
    sizes = {n: (source.folder / f"log.{n}") for n in range(1, source.attempt + 1)}
    return {
        "id": job,
        "name": name,
        "job": name.partition(".")[0],
        "project": "digits",
        "submission": "s-1",
        "owner": "me",
        "params": {"lr": "1e-4"},
        "state": state,
        "reason": "exit_zero",
        "detail": "",
        "waiting_for": None,
        "attempt": source.attempt,
        "attempts": [attempt_view(n, p.stat().st_size) for n, p in sizes.items() if p.exists()],
        "exit_code": 0,
        "signal": None,
        "submitted_at": 99.0,
        "started_at": 100.0,
        "ended_at": 102.5,
        "gpus": [],
        "progress": None,
        "path": "",
        "pull": "auto",
        "env_digest": None,
        "hints": [],
    }
