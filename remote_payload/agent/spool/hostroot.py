"""Finding this host's spool, or making it the first time. A spool belongs to one host, and a host has one spool."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Dict, Mapping, NamedTuple, Optional

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.identity import boot_identity, host_id
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.paths import VERSION, SpoolPaths

_POINTER = "root"


class Spool(NamedTuple):
    """An open spool and the id of the host it belongs to."""

    paths: SpoolPaths
    host_id: str


def open_spool(profile: Mapping[str, Any], home: Optional[str] = None) -> Spool:
    """Return this host's spool; it is made when this host never had one.

    Args:
        profile: `identity`, an argv that prints who the host is, or None; `root`, where a new spool goes, or None for
            the home folder.
        home: the home folder, by default the user's.

    Raises:
        AgentFault: root_missing (it had one, and its folder is gone), moved (the folder is another host's),
            spool_version (another layout), refused (it cannot be made there).
    """
    host = host_id(profile.get("identity"))
    folder = os.path.join(home or os.path.expanduser("~"), ".orch", "hosts", host)
    pointer = os.path.join(folder, _POINTER)
    root = _pointed(pointer)
    if root is None:
        root = _absolute(profile.get("root")) or os.path.join(folder, "spool")
        try:
            _make(SpoolPaths(root), host)
            atomic.make_folder(folder)
            atomic.write_bytes(pointer, os.fsencode(root) + b"\n")
        except OSError as error:
            raise AgentFault(
                "refused",
                "the queue's folder cannot be made at {}: {}".format(root, error.strerror or error),
                "make room there, or name another folder with `root` of this host",
            ) from error
    paths = SpoolPaths(root)
    check_spool(paths, host)
    _remember(paths, profile)
    return Spool(paths, host)


def check_spool(paths: SpoolPaths, host: str) -> None:
    """Let a spool pass that this agent understands and that belongs to this host.

    Raises:
        AgentFault: root_missing, spool_version or moved.
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
    owner = (atomic.read_json(paths.host) or {}).get("host_id")
    if owner != host:
        raise AgentFault(
            "moved",
            "the queue at {} belongs to another host ({}; this is {})".format(paths.root, owner, host),
            "it came with a copied disk or image; name another folder with `root` of this host",
        )


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
