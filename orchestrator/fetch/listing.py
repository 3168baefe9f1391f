"""The list of results a host offers, checked entry by entry: what is wrong is named, the rest goes on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from remote_payload.agent.spool.manifests import MAX_ENTRIES, MAX_SIZE, check_path
from remote_payload.agent.wire.messages import OutputList

ROOTS = ("outputs", "workdir")
"""$ORCH_OUTPUT_DIR first: what is put there on purpose keeps its name when both hold the same path."""

_SHA = re.compile(r"[0-9a-f]{64}")
LeftOut = tuple[str, int, str]


@dataclass
class Result:
    """One result file or symlink, checked.

    Args:
        root: where it is on the host: outputs or workdir.
        path: its path below that.
        link: a symlink's target, None for a file.
        local: its path in the results folder, once that is known.
    """

    root: str
    path: str
    size: int
    mtime: float
    executable: bool
    sha256: str
    link: str | None
    local: str = ""


class Listed(NamedTuple):
    """Results in the order they get their names, and the attempt they are of (0: the job never started).

    complete: nothing that has bytes was left out or refused; a pattern that matched nothing is no loss.
    """

    results: list[Result]
    attempt: int
    complete: bool


def read_list(listed: OutputList, left_out: list[LeftOut]) -> Listed:
    """Return the results that may be pulled.

    Args:
        listed: what the host said.
        left_out: gets (path, bytes, why) of what the host leaves out and of what is refused here.
    """
    files: Any = listed.get("files")
    results: list[Result] = []
    for entry in files[:MAX_ENTRIES] if isinstance(files, list) else ():
        try:
            results.append(_result(entry))
        except ValueError as error:
            path = entry.get("path") if isinstance(entry, dict) else None
            left_out.append((str(path), 0, f"refused: {error}"))
    results = _not_through_links(results, left_out)
    results.sort(key=lambda result: (ROOTS.index(result.root), result.path))
    not_sent = _host_left_out(listed.get("left_out"))
    complete = not left_out and not any(size for _, size, _ in not_sent)
    left_out.extend(not_sent)
    attempt: Any = listed.get("attempt")
    return Listed(results, attempt if type(attempt) is int and attempt > 0 else 0, complete)


def _result(entry: Any) -> Result:
    if not isinstance(entry, Mapping):
        raise ValueError("not an object")
    path: Any = entry.get("path")
    root, link = entry.get("root"), entry.get("link")
    check_path(path)
    if root not in ROOTS:
        raise ValueError(f"unknown root {root!r}")
    mtime = entry.get("mtime")
    moment = float(mtime) if isinstance(mtime, (int, float)) and abs(mtime) < 1e12 else 0.0
    executable = entry.get("executable") is True
    if link is not None:
        if not isinstance(link, str) or not link or "\0" in link:
            raise ValueError("a symlink without a target")
        return Result(root, path, 0, moment, False, "", link)
    size, sha256 = entry.get("size"), entry.get("sha256")
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise ValueError(f"size {size!r}"[:100])
    if not isinstance(sha256, str) or not _SHA.fullmatch(sha256):
        raise ValueError("no digest")
    return Result(root, path, size, moment, executable, sha256, None)


def _not_through_links(results: list[Result], left_out: list[LeftOut]) -> list[Result]:
    links = {(result.root, result.path) for result in results if result.link is not None}
    seen: set[tuple[str, str]] = set()
    kept = []
    for result in results:
        parts = result.path.split("/")
        above = {(result.root, "/".join(parts[:count])) for count in range(1, len(parts))}
        if above & links:
            left_out.append((result.path, result.size, "refused: it leads through a symlink"))
        elif (result.root, result.path) in seen:
            left_out.append((result.path, result.size, "refused: listed twice"))
        else:
            seen.add((result.root, result.path))
            kept.append(result)
    return kept


def _host_left_out(rows: Any) -> list[LeftOut]:
    found = []
    for row in rows[:MAX_ENTRIES] if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) == 3:
            size = row[1] if type(row[1]) is int else 0
            found.append((str(row[0]), size, str(row[2])))
    return found


def stays_inside(local: str, target: str) -> bool:
    """Whether a symlink at a place in the results folder leads to a place in it.

    ".." is taken only at the beginning: behind the name of another symlink it would lead somewhere else.
    """
    if target.startswith(("/", "\\")) or ":" in target.partition("/")[0] or "\\" in target:
        return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return ".." not in parts[ups:] and ups <= local.count("/")
