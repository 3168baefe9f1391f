"""From a code folder to a snapshot: a manifest with its id, and where each blob is read from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.ship.hashing import HashCache, NoCache, hash_files, stamp
from orchestrator.ship.ignore import Ignore, rules_above
from orchestrator.ship.walk import Found, LeftOut, Walker, leaves_tree
from orchestrator.store.hashes import HashRow
from remote_payload.agent.spool.manifests import VERSION, manifest_id
from remote_payload.agent.wire.messages import Entry, Manifest

__all__ = ["Blob", "HashCache", "HashRow", "LeftOut", "NoCache", "Tree", "scan_tree"]

WARN_BYTES = 200 * 1000 * 1000
WARN_FILES = 20_000
LARGEST = 10
RACY_NS = 2_000_000_000
"""A file touched so shortly before the scan may change again within one tick of its clock: its digest is not kept."""
SHOWN = 5


@dataclass(frozen=True)
class Blob:
    """Where a blob's bytes come from.

    Args:
        path: the file here.
        size: bytes that are sent, before any compression.
        crlf: its CRLF line ends are sent as LF.
        name: its path in the tree, for messages.
    """

    path: str
    size: int
    crlf: bool
    name: str


@dataclass
class Tree:
    """A frozen code tree.

    Args:
        manifest: what the host gets to know.
        snapshot_id: the manifest's digest.
        blobs: by SHA-256, each content once.
        left_out: what a rule left behind.
        total_files: plain files in the manifest.
        total_bytes: their bytes.
        warnings: sentences for people.
        crlf_fixed: scripts whose line ends are sent as LF.
        unreadable: {path: why} of what could not be read and stays behind.
        special: sockets, FIFOs and devices, which stay behind.
    """

    manifest: Manifest
    snapshot_id: str
    blobs: dict[str, Blob]
    left_out: list[LeftOut]
    total_files: int
    total_bytes: int
    warnings: list[str] = field(default_factory=list)
    crlf_fixed: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    special: list[str] = field(default_factory=list)


def scan_tree(
    root: Path,
    ignore: Sequence[str] = (),
    include: Sequence[str] = (),
    results: Path | None = None,
    cache: HashCache | None = None,
    state: Path | None = None,
) -> Tree:
    """Freeze a folder.

    Args:
        root: the folder; it may itself be a symlink, nothing below it is followed.
        ignore: `code.ignore`, lines as in a .gitignore file.
        include: `code.include`, the same; brings back what a rule leaves out.
        results: the results folder, left out when it lies inside.
        cache: digests of files that did not change.
        state: orch's own folder on the laptop; it holds keys, and is never sent.

    Raises:
        UsageError: the folder cannot be listed.
        RefusedError: a file keeps changing while it is read.
    """
    root = root.resolve()
    rules = Ignore(ignore, include, _inside(root, results), _inside(root, state))
    found = Walker(root, rules, rules_above(root)).walk()
    rows = _hash(root, found, cache or NoCache())
    return _build(root, found, rows)


def _inside(root: Path, folder: Path | None) -> str | None:
    if folder is None:
        return None
    folder = folder.parent.resolve() / folder.name
    return folder.relative_to(root).as_posix() if folder != root and folder.is_relative_to(root) else None


def _hash(root: Path, found: Found, cache: HashCache) -> dict[str, HashRow]:
    began = time.time_ns()
    known = cache.cached_hashes(str(root))
    rows: dict[str, HashRow] = {}
    todo: dict[str, str] = {}
    for rel, status in found.files.items():
        row = known.get(rel)
        if row is not None and row[:4] == stamp(status):
            rows[rel] = row
        else:
            todo[rel] = here(root, rel)
    hashed = hash_files(todo, {rel: found.files[rel].st_size for rel in todo})
    found.unreadable.update(hashed.unreadable)
    rows.update(hashed.rows)
    ended = time.time_ns()
    keep = {rel: row for rel, row in hashed.rows.items() if not _racy(row, began, ended)}
    gone = [rel for rel in known if rel not in rows or (rel in hashed.rows and rel not in keep)]
    if keep or gone:
        cache.save_hashes(str(root), keep, gone)
    return rows


def here(root: Path, rel: str) -> str:
    """Return the path on this computer of a path in the tree."""
    if os.name != "nt" and not rel.isascii():
        rel = os.fsdecode(rel.encode("utf-8", "surrogateescape"))
    return os.path.join(root, rel)  # noqa: PTH118 - a name may hold what Path would tidy up


def _racy(row: HashRow, began: int, ended: int) -> bool:
    return any(began - RACY_NS < at < ended + RACY_NS for at in (row.mtime_ns, row.ctime_ns))


def _build(root: Path, found: Found, rows: dict[str, HashRow]) -> Tree:
    entries: list[Entry] = []
    blobs: dict[str, Blob] = {}
    total = 0
    for rel, row in rows.items():
        executable = row.script if os.name == "nt" else bool(found.files[rel].st_mode & 0o111)
        entries.append({"p": rel, "t": "f", "x": executable, "s": row.sent, "h": row.sha256})
        if row.sha256 not in blobs:
            blobs[row.sha256] = Blob(here(root, rel), row.sent, row.crlf, rel)
        total += row.sent
    entries.extend({"p": rel, "t": "l", "to": target} for rel, target in found.links.items())
    entries.extend({"p": rel, "t": "d"} for rel in found.empty)
    entries.sort(key=lambda entry: entry["p"])
    manifest: Manifest = {"version": VERSION, "entries": entries}
    return Tree(
        manifest,
        manifest_id(manifest),
        blobs,
        sorted(found.left_out, key=lambda row: row.path),
        len(rows),
        total,
        _warnings(found, rows, total),
        sorted(rel for rel, row in rows.items() if row.crlf),
        found.unreadable,
        sorted(found.special),
    )


def _warnings(found: Found, rows: dict[str, HashRow], total: int) -> list[str]:
    said: list[str] = []
    if total > WARN_BYTES or len(rows) > WARN_FILES:
        largest = sorted(rows, key=lambda rel: -rows[rel].sent)[:LARGEST]
        listed = ", ".join(f"{shown(rel)} ({rows[rel].sent / 1e6:.1f} MB)" for rel in largest)
        said.append(
            f"the code is {len(rows)} files, {total / 1e6:.0f} MB; leave out what the job does not need with "
            f"code.ignore. The largest: {listed}"
        )
    if found.unreadable:
        why = sorted(set(found.unreadable.values()))
        said.append(f"left out because they cannot be read ({', '.join(why)}): {_some(found.unreadable)}")
    if found.special:
        said.append(f"left out because they are no files (sockets, pipes, devices): {_some(sorted(found.special))}")
    outside = sorted(rel for rel, target in found.links.items() if leaves_tree(rel, target))
    if outside:
        said.append(f"symlinks that lead out of the code folder are sent as they are: {_some(outside)}")
    return said


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(map(shown, listed[:SHOWN])) + more


def shown(name: str) -> str:
    """Return a name that can be printed in one line anywhere."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
