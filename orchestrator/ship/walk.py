"""One pass over a code folder: what is there, what stays behind and why. Reads no file but the ignore files."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.ship.ignore import GITIGNORE, ORCHIGNORE, Ignore, Level, Verdict
from remote_payload.agent.spool.manifests import check_path

_IGNORE_FILES = (GITIGNORE, ORCHIGNORE)
_JUNCTION = 0xA0000003
"""IO_REPARSE_TAG_MOUNT_POINT: a Windows folder that is really somewhere else."""


@dataclass(frozen=True)
class LeftOut:
    """A path that stays behind.

    Args:
        path: relative to the root; a folder ends in a slash.
        rule: where the rule stands and what it says, e.g. ".gitignore: *.csv".
        files: how many files that is; None for a folder, which is not looked into.
        bytes: their size; None for a folder.
    """

    path: str
    rule: str
    files: int | None = None
    bytes: int | None = None


@dataclass
class Found:
    """What a walk saw, all paths relative to the root with slashes.

    Args:
        files: plain files and their stat.
        links: symlinks and their targets.
        empty: folders with nothing in them that is sent.
        left_out: what a rule left behind.
        unreadable: what could not be read, with why.
        special: sockets, FIFOs, devices and other things that are no code.
    """

    files: dict[str, os.stat_result] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    special: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Folder:
    """A folder on the way down.

    Args:
        base: "" or its path and a slash.
        level: the ignore files in force around it.
        included: `include` named it or a folder around it.
        verdict: what left it out, when it is only entered for what `include` may name below.
    """

    base: str
    level: Level
    included: bool = False
    verdict: Verdict | None = None


_Waiting = tuple[_Folder, Path, list[os.DirEntry[str]]]


class Walker:
    """Walks one tree.

    Args:
        root: the folder, resolved.
        ignore: the rules.
        above: ignore files of the folders around the root.
    """

    def __init__(self, root: Path, ignore: Ignore, above: Level) -> None:
        self._root = root
        self._ignore = ignore
        self.found = Found()
        self._start = _Folder("", above)
        self._kept: list[str] = []

    def walk(self) -> Found:
        """Return what is there.

        Raises:
            UsageError: the root cannot be listed.
        """
        try:
            entries = _scan(self._root)
        except OSError as error:
            raise UsageError(f"the code folder {self._root} cannot be read: {error.strerror}") from error
        waiting = [(self._start, self._root, entries)]
        while waiting:
            self._folder(*waiting.pop(), waiting)
        holding = {
            path.rpartition("/")[0] for paths in (self.found.files, self.found.links, self._kept) for path in paths
        }
        self.found.empty = [path for path in self._kept if path not in holding]
        return self.found

    def _folder(self, folder: _Folder, path: Path, entries: list[os.DirEntry[str]], waiting: list[_Waiting]) -> None:
        names = sorted(entry.name for entry in entries if entry.name in _IGNORE_FILES)
        if names:
            level = folder.level.enter(path, folder.base, names)
            folder = _Folder(folder.base, level, folder.included, folder.verdict)
        for entry in entries:
            below = self._entry(folder, entry)
            if below:
                waiting.append(below)

    def _entry(self, folder: _Folder, entry: os.DirEntry[str]) -> _Waiting | None:
        """Take in one entry; returns what to look at next when it is a folder to enter."""
        rel = folder.base + _wire_name(entry.name)
        try:
            check_path(rel)
            status = entry.stat(follow_symlinks=False)
        except (OSError, ValueError) as error:
            self.found.unreadable[rel] = str(getattr(error, "strerror", None) or error)
            return None
        is_folder = stat.S_ISDIR(status.st_mode)
        verdict = self._ignore.check(folder.level, rel, is_folder, included=folder.included)
        if folder.verdict and not self._ignore.names(rel, is_folder):
            verdict = folder.verdict
        if is_folder and getattr(status, "st_reparse_tag", 0) != _JUNCTION:
            return self._subfolder(folder, entry, rel, verdict)
        if not (verdict and verdict.ignored):
            self._leaf(entry, rel, status)
        elif not folder.verdict:
            self.found.left_out.append(LeftOut(rel, verdict.rule, 1, status.st_size))
        return None

    def _leaf(self, entry: os.DirEntry[str], rel: str, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            self.found.files[rel] = status
        elif stat.S_ISLNK(status.st_mode):
            try:
                self.found.links[rel] = _wire_target(os.readlink(entry.path))  # noqa: PTH115 - as it stands
            except OSError as error:
                self.found.unreadable[rel] = error.strerror or str(error)
        else:
            self.found.special.append(rel)

    def _subfolder(
        self, folder: _Folder, entry: os.DirEntry[str], rel: str, verdict: Verdict | None
    ) -> _Waiting | None:
        left_out = verdict if verdict and verdict.ignored else None
        if left_out and not folder.verdict:
            self.found.left_out.append(LeftOut(rel + "/", left_out.rule))
        if left_out and not self._ignore.may_hold(rel, built_in=left_out.built_in):
            return None
        path = Path(entry.path)
        try:
            entries = _scan(path)
        except OSError as error:
            if not left_out:
                self.found.unreadable[rel + "/"] = error.strerror or str(error)
            return None
        if not left_out:
            self._kept.append(rel)
        included = folder.included or self._ignore.names(rel, True)
        return _Folder(rel + "/", folder.level, included, left_out), path, entries


def _scan(path: Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return list(entries)


def _wire_name(name: str) -> str:
    """Return a name as it stands in manifests: UTF-8, other bytes as surrogate escapes, on every locale."""
    if os.name == "nt" or name.isascii():
        return name
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _wire_target(target: str) -> str:
    if os.name == "nt":
        return target.removeprefix("\\\\?\\").replace("\\", "/")
    return _wire_name(target)


def leaves_tree(rel: str, target: str) -> bool:
    """Whether a symlink's target is absolute or climbs out of the root."""
    if target.startswith("/") or (os.name == "nt" and target[1:2] == ":"):
        return True
    depth = rel.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False
