"""A link's methods that move bytes: packs there, results home. They use the bulk channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from orchestrator.errors import AgentError
from orchestrator.remote.link_base import LinkBase, given, number, unpacked
from orchestrator.remote.link_types import FilePiece, Have, PackSource
from orchestrator.remote.streaming import Stream
from remote_payload.agent.wire.messages import OutputList


class FileRead:
    """One file's bytes as they come; iterate, then `size` and `sha256` are those of the whole file on the host."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.name = stream.host

    def __iter__(self) -> Iterator[FilePiece]:
        with self._stream as stream:
            for frame in stream:
                yield FilePiece(0, number(frame, "offset", self.name), frame.body)

    @property
    def size(self) -> int:
        """Bytes of the whole file; only after the last piece."""
        return int(self._stream.result["size"])

    @property
    def sha256(self) -> str:
        """Digest of the whole file; only after the last piece."""
        return str(self._stream.result["sha256"])


class FileMethods(LinkBase):
    """Each method may raise AgentError and UnreachableError."""

    def have(self, snapshots: Sequence[str], blobs: Sequence[str]) -> Have:
        """Ask what the host holds; what it found is kept there for a day."""
        return cast(Have, self.rpc.call("have", snapshots=list(snapshots), blobs=list(blobs)).result)

    def put_pack(self, submission: str, pack: PackSource, progress: Callable[[int], None] | None = None) -> int:
        """Send missing blobs as one pack; return how many were stored.

        Args:
            submission: its id.
            pack: index and blobs.
            progress: called with the bytes (index and blobs) the host has taken so far.
        """
        args = {
            "submission": submission,
            "size": pack.size,
            "index_size": pack.index_size,
            "sha256": pack.sha256,
        }
        return int(self.bulk().upload("put_pack", args, pack.chunks(), progress).result["stored"])

    def read_blobs(self, blobs: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield the contents of stored files in pieces: (digest, bytes), one file after the other.

        Args:
            blobs: {SHA-256: size in bytes}.
        """
        hashes = list(blobs)
        with self.bulk().stream("read_blobs", hashes=hashes, sizes=[blobs[one] for one in hashes]) as stream:
            for frame in stream:
                position = number(frame, "n", self.name)
                if not 0 <= position < len(hashes):
                    raise AgentError(f"{self.name} sent a file nobody asked for", host=self.name, code="internal")
                yield hashes[position], frame.body

    def outputs(self, job: str) -> OutputList:
        """Return the list of a job's result files with their digests (the host reads every one of them)."""
        body = self.rpc.call("outputs", timeout=None, job=job).body
        return cast(OutputList, unpacked(body, self.name, "outputs"))

    def read_file(self, job: str, root: str, path: str, offset: int = 0, length: int | None = None) -> FileRead:
        """Read one file of a job.

        Args:
            job: its id.
            root: `workdir`, `outputs` or `attempt`.
            path: relative to root, with /.
            offset, length: the part wanted, in bytes; by default all of it.
        """
        return FileRead(
            self.bulk().stream("read_file", **given(job=job, root=root, path=path, offset=offset, length=length))
        )

    def read_files(self, job: str, files: Sequence[tuple[str, str, int]]) -> Iterator[FilePiece]:
        """Read many files of a job, one after the other, in one round trip.

        Args:
            job: its id.
            files: (root, path, offset to begin at) each; `FilePiece.n` counts them from 0.
        """
        with self.bulk().stream("read_files", job=job, files=[list(file) for file in files]) as stream:
            for frame in stream:
                yield FilePiece(number(frame, "n", self.name), number(frame, "offset", self.name), frame.body)
