"""Laying out a snapshot's files: the job's workdir, once, or a temporary tree for a setup."""

from __future__ import annotations

import os
import shutil
import stat
from functools import partial
from typing import Any, Dict, List, Optional, Tuple, Union, cast

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.manifests import FILE, FOLDER, LINK, check_manifest, manifest_id, path_bytes
from remote_payload.agent.spool.packs import PackIndex, PackReader, in_pack_order
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import Entry, Manifest

Index = Dict[str, List[int]]
"""Path -> [size, mtime_ns] of each file as it was laid out."""

_TEMPORARY = ".tmp"


def read_manifest(paths: SpoolPaths, snapshot: str) -> Manifest:
    """Return a stored snapshot's manifest, checked.

    Raises:
        AgentFault: not_found.
        SpoolFileError: the file is not that manifest.
    """
    path = paths.snapshot(snapshot)
    manifest: Any = atomic.read_json(path)
    if manifest is None:
        raise AgentFault("not_found", "the snapshot {} is not on this host".format(snapshot[:12]), "submit again")
    try:
        check_manifest(manifest)
    except ValueError as error:
        raise atomic.SpoolFileError(path, str(error)) from error
    if manifest_id(manifest) != snapshot:
        raise atomic.SpoolFileError(path, "its digest is not its name")
    return cast(Manifest, manifest)


def extract(paths: SpoolPaths, snapshot: str, workdir: str, index_path: str) -> bool:
    """Make a job's workdir, unless it is there: a retry goes on in it, with the checkpoints of the first try.

    Args:
        paths: of the spool.
        snapshot: the manifest's id.
        workdir: the folder to make; it appears complete or not at all.
        index_path: gets what was laid out, for telling later what the job made or changed.

    Returns:
        False when the workdir was there.

    Raises:
        AgentFault: the snapshot, or a file of it, is missing or damaged.
        OSError: no room.
    """
    if os.path.isdir(workdir):
        return False
    temporary = workdir + _TEMPORARY
    try:
        index = extract_tree(paths, snapshot, temporary)
        atomic.write_json(index_path, index)
    except BaseException:
        remove_tree(temporary)
        raise
    crash("workdir.extracted")
    os.rename(temporary, workdir)
    crash("workdir.renamed")
    atomic.sync_folder(os.path.dirname(workdir))
    return True


def extract_tree(paths: SpoolPaths, snapshot: str, folder: str) -> Index:
    """Lay out a snapshot in a new folder; what stood at that name is removed first. Returns what was laid out.

    Raises:
        AgentFault: the snapshot, or a file of it, is missing or damaged.
        OSError: no room.
    """
    manifest = read_manifest(paths, snapshot)
    remove_tree(folder)
    os.makedirs(folder, mode=0o700)
    return extract_into(paths, manifest, folder)


def extract_into(paths: SpoolPaths, manifest: Manifest, folder: str) -> Index:
    """Lay out a checked manifest in an empty folder of ours; return what was laid out.

    Files first, links last: nothing is ever written through a link.

    Raises:
        AgentFault: a file is missing or damaged.
        OSError: no room.
    """
    root = os.fsencode(folder)
    made = {root}
    files: Dict[str, List[Entry]] = {}
    links: List[Entry] = []
    for entry in manifest["entries"]:
        place = _below(root, entry)
        _make_folders(place if entry["t"] == FOLDER else os.path.dirname(place), made)
        if entry["t"] == FILE:
            files.setdefault(entry["h"], []).append(entry)
        elif entry["t"] == LINK:
            links.append(entry)
    index = _write_files(paths, root, files)
    for entry in links:
        os.symlink(path_bytes(entry["to"]), _below(root, entry))
    return index


def remove_tree(folder: str) -> None:
    """Remove a folder of ours with all that a job may have done to it (read-only folders). Missing is fine."""
    if not os.path.isdir(folder) or os.path.islink(folder):
        if os.path.lexists(folder):
            os.unlink(folder)
        return
    _give_back(folder)
    for base, folders, _ in os.walk(os.fsencode(folder)):
        for name in folders:
            _give_back(os.path.join(base, name))
    shutil.rmtree(folder)


def _give_back(folder: Union[str, bytes]) -> None:
    """Let the owner of a folder empty it."""
    mode = os.lstat(folder).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(folder, stat.S_IMODE(mode) | stat.S_IRWXU)


def _below(root: bytes, entry: Entry) -> bytes:
    return os.path.join(root, path_bytes(entry["p"]))


def _make_folders(folder: bytes, made: "set[bytes]") -> None:
    missing: List[bytes] = []
    while folder not in made:
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        os.mkdir(each, 0o755)
        made.add(each)


def _write_files(paths: SpoolPaths, root: bytes, files: Dict[str, List[Entry]]) -> Index:
    packs = PackIndex(paths)
    packs.refresh()
    lacking = packs.missing(files)
    if lacking:
        raise AgentFault(
            "not_found", "{} files of the snapshot are not on this host".format(len(lacking)), "submit again"
        )
    index: Index = {}
    wanted = [(sha256, place) for sha256 in files for place in [packs.find(sha256)] if place is not None]
    with PackReader(paths) as reader:
        for sha256, blob in in_pack_order(wanted):
            for entry in files[sha256]:
                descriptor = _create(_below(root, entry), entry["x"])
                try:
                    reader.copy(blob, sha256, partial(_write, descriptor), entry["s"])
                    index[entry["p"]] = _stamp(descriptor)
                finally:
                    os.close(descriptor)
    return index


def _create(path: bytes, executable: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o755 if executable else 0o644)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _stamp(descriptor: int) -> List[int]:
    status = os.fstat(descriptor)
    return [status.st_size, status.st_mtime_ns]


def read_index(path: str) -> Optional[Dict[str, Tuple[int, int]]]:
    """Return what `extract` laid out, None when it has not run."""
    said = atomic.read_json(path)
    if said is None:
        return None
    return {name: (int(pair[0]), int(pair[1])) for name, pair in said.items() if _is_pair(pair)}


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(each) is int for each in pair)
