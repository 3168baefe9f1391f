"""What a job has to show: the files it made or changed, what it put into $ORCH_OUTPUT_DIR, and what stays behind."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from remote_payload.agent.spool.globs import compile_glob
from remote_payload.agent.spool.manifests import FILE, LINK, path_bytes
from remote_payload.agent.spool.paths import JobPaths, SpoolPaths
from remote_payload.agent.spool.workdir import read_index, read_manifest
from remote_payload.agent.wire.messages import JobSpec, OutputFile, OutputList

AUTO = "auto"
AUTO_BYTES = 2 * 1024**3
"""Bytes of the workdir that `outputs: auto` brings home; what does not fit is listed."""
MAX_LEFT_OUT = 10_000
"""Rows; a job that makes sockets by the million does not fill the answer with them."""

SKIPPED_FOLDERS = frozenset((b"__pycache__", b".git", b".ipynb_checkpoints"))
SKIPPED_ENDINGS = (b".pyc",)
_STEP = 1024 * 1024


class Found(NamedTuple):
    """A file or symlink below a root: its path there, and what lstat says."""

    root: str
    path: str
    place: bytes
    status: os.stat_result


class Outputs:
    """Lists one job's results.

    Args:
        paths: of the spool.
        spec: the job.
    """

    def __init__(self, paths: SpoolPaths, spec: JobSpec) -> None:
        self._paths = paths
        self._spec = spec
        self._place: JobPaths = paths.job(spec["id"])
        self._left_out: List[List[Any]] = []

    def list(self) -> OutputList:
        """Return the results as they are now; reads every file that may be one.

        Raises:
            AgentFault: the job's index or manifest cannot be used.
        """
        outputs = self._place.outputs
        files = [self._described(found) for found in self._walk("outputs", outputs, skip=False)]
        files.extend(self._auto() if self._spec["outputs"] == AUTO else self._by_globs())
        numbers = self._place.attempt_numbers()
        attempt = numbers[-1] if numbers else 0
        return {
            "files": [file for file in files if file is not None],
            "left_out": self._left_out[:MAX_LEFT_OUT],
            "attempt": attempt,
            "log_size": _log_size(self._place, attempt),
        }

    # -- what is meant -------------------------------------------------------------------------------------------------

    def _auto(self) -> Iterator[Optional[OutputFile]]:
        changed = list(self._changed())
        budget = AUTO_BYTES
        # The smallest first: metrics and plots come home even where a checkpoint alone is over the limit.
        for found, known in sorted(changed, key=lambda pair: (pair[0].status.st_size, pair[0].path)):
            size = found.status.st_size if stat.S_ISREG(found.status.st_mode) else 0
            if size > budget:
                why = "outputs: auto brings at most {} GB; name it under `outputs`".format(AUTO_BYTES // 1024**3)
                self._leave(found.path, size, why)
                continue
            described = self._described(found)
            if described is not None and known is not None and described["sha256"] == known:
                continue
            budget -= size
            yield described

    def _changed(self) -> Iterator[Tuple[Found, Optional[str]]]:
        """Yield what is not as it was laid out, with the digest it had where only its time differs."""
        index = read_index(self._place.workdir_index) or {}
        sent: Dict[str, str] = {}
        links: Dict[str, str] = {}
        if index or os.path.isdir(self._place.workdir):
            for entry in read_manifest(self._paths, self._spec["snapshot"])["entries"]:
                if entry["t"] == FILE:
                    sent[entry["p"]] = entry["h"]
                elif entry["t"] == LINK:
                    links[entry["p"]] = entry["to"]
        for found in self._walk("workdir", self._place.workdir, skip=True):
            status = found.status
            if stat.S_ISLNK(status.st_mode):
                if links.get(found.path) is None or path_bytes(links[found.path]) != _target(found.place):
                    yield found, None
                continue
            known = index.get(found.path)
            if known == (status.st_size, status.st_mtime_ns):
                continue
            same_size = known is not None and known[0] == status.st_size
            yield found, sent.get(found.path) if same_size else None

    def _by_globs(self) -> Iterator[Optional[OutputFile]]:
        patterns = []
        for text in self._spec["outputs"]:
            try:
                patterns.append((text, compile_glob(text)))
            except ValueError as error:
                self._leave(text, 0, "the pattern is not used: {}".format(error))
        matched = set()
        for found in self._walk("workdir", self._place.workdir, skip=False):
            hits = [text for text, pattern in patterns if pattern.fullmatch(found.path)]
            if hits:
                matched.update(hits)
                yield self._described(found)
        for text, _ in patterns:
            if text not in matched:
                self._leave(text, 0, "the pattern matches nothing")

    # -- what is there -------------------------------------------------------------------------------------------------

    def _walk(self, root: str, folder: str, skip: bool) -> Iterator[Found]:
        base = os.fsencode(folder)
        waiting = [base]
        while waiting:
            here = waiting.pop()
            for entry in self._entries(here, base):
                shown = os.fsdecode(os.path.relpath(entry.path, base))
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it went away while we looked
                if stat.S_ISDIR(status.st_mode):
                    if not (skip and entry.name in SKIPPED_FOLDERS):
                        waiting.append(entry.path)
                elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    if not (skip and entry.name.endswith(SKIPPED_ENDINGS)):
                        yield Found(root, shown, entry.path, status)
                else:
                    self._leave(shown, 0, "it is no file ({})".format(_kind(status.st_mode)))

    def _entries(self, folder: bytes, base: bytes) -> List["os.DirEntry[bytes]"]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._leave(os.fsdecode(os.path.relpath(folder, base)), 0, "cannot be read: {}".format(error.strerror))
            return []

    def _described(self, found: Found) -> Optional[OutputFile]:
        status = found.status
        if stat.S_ISLNK(status.st_mode):
            target = _target(found.place)
            return None if target is None else _output(found, 0, "", os.fsdecode(target))
        try:
            size, sha256 = hash_file(found.place)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._leave(found.path, status.st_size, "cannot be read: {}".format(error.strerror))
            return None
        return _output(found, size, sha256, None)

    def _leave(self, path: str, size: int, why: str) -> None:
        self._left_out.append([path, size, why])


def hash_file(path: bytes) -> Tuple[int, str]:
    """Return (bytes, SHA-256) of a file as far as it was long when it was opened, or as it could be read.

    Raises:
        OSError: it is gone, a symlink, or unreadable.
    """
    # O_NONBLOCK: the name may have become a FIFO since it was looked at.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        left = os.fstat(descriptor).st_size
        digest = hashlib.sha256()
        size = 0
        while left > 0:
            data = os.read(descriptor, min(_STEP, left))
            if not data:
                break
            digest.update(data)
            size += len(data)
            left -= len(data)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def _output(found: Found, size: int, sha256: str, link: Optional[str]) -> OutputFile:
    return {
        "root": found.root,
        "path": found.path,
        "size": size,
        "mtime": found.status.st_mtime,
        "executable": link is None and bool(found.status.st_mode & stat.S_IXUSR),
        "sha256": sha256,
        "link": link,
    }


def _target(path: bytes) -> Optional[bytes]:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _log_size(place: JobPaths, attempt: int) -> int:
    if attempt < 1:
        return 0
    try:
        return os.lstat(place.attempt(attempt).log).st_size
    except OSError:
        return 0
