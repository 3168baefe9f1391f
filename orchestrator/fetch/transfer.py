"""Getting files over: gathered in partial files named by digest, gone on with after a cut, verified before use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from orchestrator.errors import AgentError
from orchestrator.fetch.folder import CHUNK, JobFolder
from orchestrator.fetch.source import Piece, ResultSource

BATCH_FILES = 2_000
BATCH_NAMES = 512 * 1024
"""Characters of paths in one request; the frame's header holds them."""
MAX_FAULTS = 20
"""Single files that the host may fail to read before the pull gives up."""
CHANGED = "it changed on the host while it was pulled; pull again"


@dataclass(frozen=True)
class Want:
    """A file to get: where it is on the host, and what it must be when it is here."""

    root: str
    path: str
    size: int
    sha256: str


@dataclass
class Transfer:
    """Gets the files of one job.

    Args:
        source: the host.
        job: its id there.
        folder: where partial files are kept.
        done: called with each file that is complete and verified, and where its bytes lie.
        had: called with the number of bytes that an earlier pull left here.
        moved: called with the number of bytes that just came.
    """

    source: ResultSource
    job: str
    folder: JobFolder
    done: Callable[[Want, Path], None]
    had: Callable[[int], None]
    moved: Callable[[int], None]
    failed: list[tuple[Want, str]] = field(default_factory=list)
    _again: list[Want] = field(default_factory=list)

    def run(self, wants: Sequence[Want]) -> None:
        """Get the files, each digest once; what cannot be had is listed in `failed`.

        Raises:
            AgentError: the host fails again and again.
            UnreachableError: the line was lost; a later run goes on where this one stopped.
            OSError: this computer cannot write.
        """
        todo = list(wants)
        faults = 0
        self.had(sum(_Incoming(want, self.folder.partial(want.sha256)).at for want in todo))
        while todo:
            batch = _batch(todo)
            left, fault = self._batch(batch)
            todo = left + todo[len(batch) :] + self._again
            self._again = []
            faults += fault is not None
            if fault and faults > MAX_FAULTS:
                raise fault

    def _batch(self, batch: Sequence[Want]) -> tuple[list[Want], AgentError | None]:
        """Get some files; returns those still to be asked for, and what the host answered instead of the first."""
        incoming = [_Incoming(want, self.folder.partial(want.sha256)) for want in batch]
        ask: list[_Incoming] = []
        for one in incoming:
            if one.at == one.want.size:
                self._settle(one)
            else:
                ask.append(one)
        if not ask:
            return [], None
        pieces = self.source.read_files(self.job, [(one.want.root, one.want.path, one.at) for one in ask])
        try:
            self._take(pieces, ask)
        except AgentError as error:
            open_ones = [one for one in ask if not one.settled]
            if not open_ones:
                return [], None
            self._fail(open_ones[0], error.message)
            return [one.want for one in open_ones[1:]], error
        finally:
            for one in ask:
                one.close()
        return [], None

    def _take(self, pieces: Iterator[Piece], ask: Sequence[_Incoming]) -> None:
        current = 0
        for piece in pieces:
            if not 0 <= piece.n < len(ask):
                raise AgentError(f"{self.source.name} sent a file nobody asked for", host=self.source.name)
            for one in ask[current : piece.n]:
                self._fall_short(one)
            current = max(current, piece.n)
            one = ask[piece.n]
            if one.settled:
                continue
            if not one.add(piece):
                self._fail(one, CHANGED)
                continue
            self.moved(len(piece.data))
            if one.at == one.want.size:
                self._settle(one)
        for one in ask:
            self._fall_short(one)

    def _fall_short(self, one: _Incoming) -> None:
        if not one.settled:
            self._fail(one, CHANGED)

    def _settle(self, one: _Incoming) -> None:
        one.settled = True
        if one.finish() == one.want.sha256:
            self.done(one.want, one.partial)
        elif one.resumed:
            # Perhaps it is what was here that is wrong (this computer lost power, say): once more, from its start.
            one.partial.unlink(missing_ok=True)
            self._again.append(one.want)
        else:
            self._fail(one, CHANGED)

    def _fail(self, one: _Incoming, why: str) -> None:
        one.settled = True
        one.close()
        one.partial.unlink(missing_ok=True)
        self.failed.append((one.want, why))


def _batch(wants: Sequence[Want]) -> list[Want]:
    taken: list[Want] = []
    names = 0
    for want in wants[:BATCH_FILES]:
        names += len(want.path) * 2
        if taken and names > BATCH_NAMES:
            break
        taken.append(want)
    return taken


class _Incoming:
    """One file on its way; opened with its first piece, so that a batch does not hold thousands of descriptors."""

    def __init__(self, want: Want, partial: Path) -> None:
        self.want = want
        self.partial = partial
        self.settled = False
        self.at = partial.stat().st_size if partial.exists() else 0
        if self.at > want.size:
            partial.unlink()
            self.at = 0
        self.resumed = self.at > 0
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None

    def add(self, piece: Piece) -> bool:
        """Take the next bytes; returns False when they are not the next ones or too many."""
        if piece.offset != self.at or self.at + len(piece.data) > self.want.size:
            return False
        file = self._open()
        file.write(piece.data)
        self._digest.update(piece.data)
        self.at += len(piece.data)
        return True

    def finish(self) -> str:
        """Close the file and return the digest of all its bytes."""
        self._open()
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; what it holds stays for a later pull."""
        if self._file:
            self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        if self._file is None:
            file = self.partial.open("a+b")
            file.seek(0)
            while data := file.read(CHUNK):
                self._digest.update(data)
            self._file = file
        return self._file
