"""What a frozen code tree is called and which ones are believed. Pure, imported by both ends (Python 3.8 to 3.14).

A manifest comes from another machine: nothing of it is used as a path before `check_manifest` let it pass.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, FrozenSet, Set

VERSION = 1
MAX_ENTRIES = 1_000_000
MAX_PATH = 4096
"""Bytes of a path and of a symlink's target (PATH_MAX on Linux)."""
MAX_SIZE = 1 << 50

FILE = "f"
LINK = "l"
FOLDER = "d"

_SHA = re.compile(r"[0-9a-f]{64}")
_FIELDS: Dict[str, FrozenSet[str]] = {
    FILE: frozenset(("p", "t", "x", "s", "h")),
    LINK: frozenset(("p", "t", "to")),
    FOLDER: frozenset(("p", "t")),
}


def canonical(obj: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no blanks, ASCII (surrogate escapes survive as \\udcXX).

    Raises:
        ValueError: the value holds NaN or an infinity, or is circular.
        TypeError: it holds what JSON cannot.
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def manifest_id(manifest: Any) -> str:
    """Return the snapshot's id: the SHA-256 of the manifest's canonical JSON, in lower-case hex."""
    return hashlib.sha256(canonical(manifest)).hexdigest()


def path_bytes(path: str) -> bytes:
    """Return a manifest path as the bytes the file system knows.

    Raises:
        ValueError: the text holds surrogates that stand for no byte.
    """
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("path is not text: {!r}".format(path)) from None


def check_path(path: Any) -> None:
    """Let a relative path pass that stays below its root; a backslash is an ordinary character.

    Raises:
        ValueError: it is not text, empty, absolute, too long, or has an empty, ".", ".." or NUL part.
    """
    if not isinstance(path, str):
        raise ValueError("path is not text: {!r}".format(path))
    if not path:
        raise ValueError("empty path")
    if path.startswith("/"):
        raise ValueError("absolute path: {!r}".format(path))
    if "\0" in path:
        raise ValueError("NUL in path: {!r}".format(path))
    if len(path_bytes(path)) > MAX_PATH:
        raise ValueError("path over {} bytes: {!r}…".format(MAX_PATH, path[:80]))
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ValueError("part {!r} in path: {!r}".format(part, path))


def check_manifest(manifest: Any) -> None:
    """Let a manifest pass that can be laid out below one folder without touching anything outside it.

    Raises:
        ValueError: a wrong type, too many entries, a bad path, one path twice, or a path below a file or symlink.
            The message names the path.
    """
    if not isinstance(manifest, dict) or not {"version", "entries"} <= set(manifest):
        raise ValueError("manifest is not {version, entries}")
    if type(manifest["version"]) is not int or manifest["version"] != VERSION:
        raise ValueError("manifest version {!r} instead of {}".format(manifest["version"], VERSION))
    entries = manifest["entries"]
    if not isinstance(entries, list):
        raise ValueError("manifest entries are not a list")
    if len(entries) > MAX_ENTRIES:
        raise ValueError("manifest has {} entries, over {}".format(len(entries), MAX_ENTRIES))
    kinds: Dict[str, str] = {}
    for entry in entries:
        _check_entry(entry)
        path = entry["p"]
        if path in kinds:
            raise ValueError("path twice: {!r}".format(path))
        kinds[path] = entry["t"]
    _check_parents(kinds)


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, dict):
        raise ValueError("entry is not an object: {!r}".format(entry)[:200])
    path = entry.get("p")
    check_path(path)
    kind = entry.get("t")
    needed = _FIELDS.get(kind) if isinstance(kind, str) else None
    if needed is None:
        raise ValueError("unknown type {!r} of path: {!r}".format(kind, path))
    if not needed <= set(entry):
        raise ValueError("{} missing of path: {!r}".format(", ".join(sorted(needed - set(entry))), path))
    if kind == FILE:
        _check_file(entry)
    elif kind == LINK:
        _check_link(entry)


def _check_file(entry: Dict[str, Any]) -> None:
    if type(entry["x"]) is not bool:
        raise ValueError("x is not true or false of path: {!r}".format(entry["p"]))
    if type(entry["s"]) is not int or not 0 <= entry["s"] <= MAX_SIZE:
        raise ValueError("size {!r} of path: {!r}".format(entry["s"], entry["p"]))
    if not isinstance(entry["h"], str) or not _SHA.fullmatch(entry["h"]):
        raise ValueError("digest {!r} of path: {!r}".format(entry["h"], entry["p"]))


def _check_link(entry: Dict[str, Any]) -> None:
    target = entry["to"]
    if not isinstance(target, str) or not target or "\0" in target or len(path_bytes(target)) > MAX_PATH:
        raise ValueError("link target {!r} of path: {!r}".format(target, entry["p"])[:400])


def _check_parents(kinds: Dict[str, str]) -> None:
    good: Set[str] = set()
    for path in kinds:
        parent = path.rpartition("/")[0]
        above = []
        while parent and parent not in good:
            if kinds.get(parent, FOLDER) != FOLDER:
                raise ValueError("path below a file or symlink: {!r}".format(path))
            above.append(parent)
            parent = parent.rpartition("/")[0]
        good.update(above)
