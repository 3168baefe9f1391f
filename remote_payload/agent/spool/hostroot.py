"""Finding this host's spool, or making it the first time. A spool belongs to one host, and a host has one spool."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from remote_payload.agent.crash import crash
from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.identity import boot_identity, host_id
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import VERSION, SpoolPaths

_POINTER = "root"


class Spool(NamedTuple):
    """An open spool, this host's id, and the id of the host it belongs to: another's after a copy of a disk."""

    paths: SpoolPaths
    host_id: str
    owner: str

    @property
    def moved(self) -> bool:
        """Whether it is another host's: then nothing of it is started until somebody adopts it."""
        return self.owner != self.host_id


class Foreign(NamedTuple):
    """A spool of another host that lies in this home: of a server that shares it, or of one it was copied from."""

    host_id: str
    root: str


def open_spool(profile: Mapping[str, Any], home: Optional[str] = None) -> Spool:
    """Return this host's spool; it is made when this host never had one.

    Args:
        profile: `identity`, an argv that prints who the host is, or None; `root`, where a new spool goes, or None for
            the home folder.
        home: the home folder, by default the user's.

    Raises:
        AgentFault: root_missing (it had one, and its folder is gone), spool_version (another layout), refused (it
            cannot be made there).
    """
    host = host_id(profile.get("identity"))
    folder = os.path.join(_hosts(home), host)
    pointer = os.path.join(folder, _POINTER)
    root = _pointed(pointer)
    if root is None:
        root = _absolute(profile.get("root")) or os.path.join(folder, "spool")
        try:
            _make(SpoolPaths(root), host)
            crash("root.made")
            atomic.make_folder(folder)
            atomic.write_bytes(pointer, os.fsencode(root) + b"\n")
        except OSError as error:
            raise AgentFault(
                "refused",
                "the queue's folder cannot be made at {}: {}".format(root, error.strerror or error),
                "make room there, or name another folder with `root` of this host",
            ) from error
    paths = SpoolPaths(root)
    check_spool(paths)
    spool = Spool(paths, host, owner_of(paths))
    if not spool.moved:
        _remember(paths, profile)
    return spool


def owner_of(paths: SpoolPaths) -> str:
    """Return the id of the host that a spool belongs to, "" when its file does not say."""
    owner = (atomic.read_json(paths.host) or {}).get("host_id")
    return owner if isinstance(owner, str) else ""


def foreign_spools(spool: Spool, home: Optional[str] = None) -> List[Foreign]:
    """Return the spools of other hosts in this home."""
    found = []
    for name in sorted(_names(_hosts(home))):
        with contextlib.suppress(AgentFault):
            root = _pointed(os.path.join(_hosts(home), name, _POINTER))
            if root and root != spool.paths.root and owner_of(SpoolPaths(root)) not in ("", spool.host_id):
                found.append(Foreign(owner_of(SpoolPaths(root)), root))
    return found


def adopt(spool: Spool, from_host: Optional[str], by: str, home: Optional[str] = None) -> Spool:
    """Make a spool of another host this host's own.

    Args:
        spool: as opened.
        from_host: whose spool in this home to take in place of this host's own, which must never have been used; None
            = the one that is open.
        by: who asks.

    Raises:
        AgentFault: not_found (no such spool), conflict (this host has a queue of its own).
    """
    paths = spool.paths
    if from_host is not None and from_host != spool.owner:
        named = [each for each in foreign_spools(spool, home) if each.host_id == from_host]
        if not named:
            raise AgentFault("not_found", "there is no queue of {} in this home".format(from_host[:40]))
        if _names(paths.submits):
            raise AgentFault(
                "conflict",
                "this host has a queue of its own at {}".format(paths.root),
                "a host has one queue: let the jobs of the other be submitted again",
            )
        paths = SpoolPaths(named[0].root)
        check_spool(paths)
        pointer = os.path.join(_hosts(home), spool.host_id, _POINTER)
        atomic.write_bytes(pointer, os.fsencode(paths.root) + b"\n")
        crash("adopt.pointed")
    owner = owner_of(paths)
    if owner != spool.host_id:
        said = {
            "host_id": spool.host_id,
            "boot": boot_identity(),
            "adopted": {"from": owner, "by": by, "at": time.time()},
        }
        atomic.write_json(paths.host, said)
        crash("adopt.written")
    return Spool(paths, spool.host_id, spool.host_id)


def check_spool(paths: SpoolPaths) -> None:
    """Let a spool pass that this agent understands.

    Raises:
        AgentFault: root_missing or spool_version.
    """
    said = atomic.read_bytes(paths.version)
    if said is None:
        raise AgentFault(
            "root_missing",
            "this host's queue was at {}, and is not there now".format(paths.root),
            "is its data disk mounted? orch never makes a second queue for a host by itself",
        )
    version = said.decode("ascii", "replace").strip()
    if version != VERSION:
        raise AgentFault(
            "spool_version",
            "the queue at {} has layout {}, this orch knows {}".format(paths.root, version[:20], VERSION),
            "use the newer orch",
        )


def require_own(paths: SpoolPaths, host: str) -> None:
    """Refuse to start anything from another host's spool.

    Raises:
        AgentFault: moved.
    """
    owner = owner_of(paths)
    if owner != host:
        raise AgentFault(
            "moved",
            "the queue at {} belongs to another host ({}; this is {})".format(paths.root, owner or "?", host),
            "it came with a copied disk or image, or the folder is shared: `orch host adopt` makes it this host's",
        )


def _hosts(home: Optional[str]) -> str:
    return os.path.join(home or os.path.expanduser("~"), ".orch", "hosts")


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _pointed(pointer: str) -> Optional[str]:
    data = atomic.read_bytes(pointer)
    if data is None:
        return None
    root = os.fsdecode(data.split(b"\n", 1)[0])
    if not os.path.isabs(root):
        raise atomic.SpoolFileError(pointer, "it does not name a folder")
    return root


def _absolute(root: Any) -> Optional[str]:
    if root is None:
        return None
    path = os.path.expanduser(root) if isinstance(root, str) else ""
    if not os.path.isabs(path):
        raise AgentFault("bad_request", "the spool's root is no absolute path: {!r}".format(root)[:200])
    return os.path.normpath(path)


def _make(paths: SpoolPaths, host: str) -> None:
    """Make what is missing; two controllers may do so at once. VERSION comes last: without it there is no spool."""
    if os.path.exists(paths.version):
        return
    atomic.make_folder(paths.root)
    os.chmod(paths.root, 0o700)
    for folder in paths.folders():
        atomic.make_folder(folder)
    atomic.create_json(paths.host, {"host_id": host, "boot": boot_identity()})
    atomic.write_bytes(paths.version, VERSION.encode("ascii") + b"\n")


def _remember(paths: SpoolPaths, profile: Mapping[str, Any]) -> None:
    """Keep the profile where keeper and supervisors read it."""
    kept: Dict[str, Any] = dict(profile)
    with contextlib.suppress(AgentFault):
        if atomic.read_json(paths.profile) == kept:
            return
    # A full disk must not keep anybody from looking and pulling.
    with contextlib.suppress(OSError):
        atomic.write_json(paths.profile, kept)
