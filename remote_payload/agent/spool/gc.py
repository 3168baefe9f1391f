"""Freeing space: what no job needs any more. Results that nobody has brought home stay unless that is asked for."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Set

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.fold import JobFacts, fold, is_final
from remote_payload.agent.spool.locks import holding, is_held
from remote_payload.agent.spool.manifests import FILE
from remote_payload.agent.spool.packs import PackIndex
from remote_payload.agent.spool.paths import SpoolPaths, is_digest
from remote_payload.agent.spool.pins import PIN_SECONDS, is_pinned
from remote_payload.agent.spool.place import agent_dir
from remote_payload.agent.spool.submissions import Submissions, load_facts
from remote_payload.agent.spool.workdir import read_manifest, remove_tree
from remote_payload.agent.wire.messages import JobSpec

DEFAULT_OLDER_THAN = 7 * 24 * 3600.0
"""Seconds since a job ended."""
LEFTOVER_SECONDS = 24 * 3600.0
AUTOSTART_NOTE = "autostart.json"
"""Beside a host's pointer to its spool: {agent}, the folder of the agent that a boot starts."""


class Wish(NamedTuple):
    """dry_run: only say. unpulled: also results nobody has brought home. older_than: seconds since a job's end."""

    dry_run: bool = False
    unpulled: bool = False
    older_than: float = DEFAULT_OLDER_THAN


class Item(NamedTuple):
    """One thing to remove: what it is, the paths that go together (the last one names it), and its bytes."""

    what: str
    paths: List[str]
    size: int


class Gc:
    """One look at a spool for what can go.

    Args:
        paths: of the spool.
        wish: what may go.
    """

    def __init__(self, paths: SpoolPaths, wish: Wish) -> None:
        self._paths = paths
        self._wish = wish
        self._now = time.time()
        self._jobs = Submissions(paths)

    def run(self) -> Dict[str, Any]:
        """Remove, or only say; return {removed: [{what, path, bytes}], freed}.

        Raises:
            AgentFault: a job's file cannot be read: then nothing is known to be free.
        """
        with holding(self._paths.gc_lock, exclusive=True):
            self._jobs.refresh()
            if self._jobs.broken:
                name, why = sorted(self._jobs.broken.items())[0]
                raise AgentFault("refused", "nothing is removed while {} cannot be read: {}".format(name, why))
            items = [*self._workdirs(), *self._code(), *self._leftovers(), *self._agents()]
            removed = [item for item in items if self._wish.dry_run or _remove(item)]
        listed = [{"what": item.what, "path": item.paths[-1], "bytes": item.size} for item in removed]
        return {"removed": listed, "freed": sum(item.size for item in removed)}

    def _workdirs(self) -> Iterator[Item]:
        for spec in self._jobs.jobs():
            if not self._may_go(spec, load_facts(self._paths, spec)):
                continue
            place = self._paths.job(spec["id"])
            for what, path in (("workdir", place.workdir), ("outputs", place.outputs)):
                if os.path.isdir(path):
                    yield Item(what, [path], tree_size(path))

    def _may_go(self, spec: JobSpec, facts: JobFacts) -> bool:
        if not self._is_over(spec, facts):
            return False
        attempt = facts.attempts[-1].number if facts.attempts else 0
        return self._wish.unpulled or spec["pull"] == "never" or self._is_pulled(spec["id"], attempt)

    def _is_over(self, spec: JobSpec, facts: JobFacts) -> bool:
        """Tell whether a job ended so long ago that nobody will ask to try it again."""
        if not is_final(fold(facts, self._now).state):
            return False
        ended = (facts.attempts[-1].end or {}).get("ended_at") if facts.attempts else spec["submitted_at"]
        return isinstance(ended, (int, float)) and self._now - ended >= self._wish.older_than

    def _is_pulled(self, job: str, attempt: int) -> bool:
        with contextlib.suppress(AgentFault):
            return (atomic.read_json(self._paths.job(job).pulled) or {}).get("attempt") == attempt
        return False

    def _code(self) -> Iterator[Item]:
        """Snapshots of no job that may start with them, and packs with no file of the others."""
        needed: Set[str] = set()
        for spec in self._jobs.jobs():
            # Results are told from code by the snapshot, so it stays as long as the workdir does.
            over = self._is_over(spec, load_facts(self._paths, spec))
            if not over or os.path.isdir(self._paths.job(spec["id"]).workdir):
                needed.add(spec["snapshot"])
        snapshots = [name[:-5] for name in _names(self._paths.snapshots) if name.endswith(".json")]
        blobs: Set[str] = set()
        for snapshot in filter(is_digest, snapshots):
            path = self._paths.snapshot(snapshot)
            if snapshot in needed or is_pinned(self._paths, snapshot) or _age(path, self._now) < PIN_SECONDS:
                blobs.update(_blobs(self._paths, snapshot))
            else:
                yield Item("snapshot", [path], _size(path))
        yield from self._packs(blobs)

    def _packs(self, blobs: Set[str]) -> Iterator[Item]:
        index = PackIndex(self._paths)
        index.refresh()
        kept = index.packs_of(blobs)
        for name in _names(self._paths.packs):
            pack, _, ending = name.rpartition(".")
            if ending != "pack" or not is_digest(pack) or pack in kept or is_pinned(self._paths, pack):
                continue
            path = self._paths.pack(pack)
            if _age(path, self._now) >= PIN_SECONDS:
                # The index first: without it the pack is not here any more, whatever happens next.
                yield Item("pack", [self._paths.pack_index(pack), path], _size(path))

    def _leftovers(self) -> Iterator[Item]:
        """What a process that was killed has left half done."""
        for folder in (self._paths.tmp, self._paths.submits, self._paths.packs, self._paths.snapshots):
            for name in _names(folder):
                path = os.path.join(folder, name)
                mine = folder == self._paths.tmp or name.endswith(".tmp")
                in_use = name.startswith("setup-") and is_held(self._building(name[len("setup-") :]))
                if mine and not in_use and _age(path, self._now) >= LEFTOVER_SECONDS:
                    yield Item("leftover", [path], tree_size(path))
        for name in _names(self._paths.pins):
            path = os.path.join(self._paths.pins, name)
            if _age(path, self._now) >= PIN_SECONDS:
                yield Item("pin", [path], 0)

    def _building(self, digest: str) -> str:
        return self._paths.env(digest).building if is_digest(digest) else self._paths.keeper_lock

    def _agents(self) -> Iterator[Item]:
        """Agents of earlier versions that no living process was started with."""
        mine = os.path.dirname(agent_dir())
        folder = os.path.join(os.path.expanduser("~"), ".orch", "agent")
        if os.path.dirname(mine) != folder:
            return  # not installed by the bootstrap
        lines = None
        kept = _at_boot()
        for name in _names(folder):
            path = os.path.join(folder, name)
            if path == mine or name in kept or not is_digest(name) or _age(path, self._now) < LEFTOVER_SECONDS:
                continue
            lines = command_lines() if lines is None else lines
            if not any(name.encode("ascii") in line for line in lines):
                yield Item("agent", [path], tree_size(path))


def _at_boot() -> Set[str]:
    """Return the agents that a boot starts: named by notes of run.autostart, each with the folder one above."""
    hosts = os.path.join(os.path.expanduser("~"), ".orch", "hosts")
    found = set()
    for host in _names(hosts):
        with contextlib.suppress(AgentFault):
            said = (atomic.read_json(os.path.join(hosts, host, AUTOSTART_NOTE)) or {}).get("agent")
            found.update([os.path.basename(os.path.dirname(said))] if isinstance(said, str) else [])
    return found


def command_lines() -> List[bytes]:
    """Return the command lines of all processes that can be seen."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/{}/cmdline".format(pid), "rb") as stream:
            found.append(stream.read(1024 * 1024))
    return found


def tree_size(path: str) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    total = _size(path)
    if os.path.isdir(path) and not os.path.islink(path):
        for base, _, names in os.walk(os.fsencode(path)):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(base, name)).st_size
    return total


def _remove(item: Item) -> bool:
    try:
        for path in item.paths:
            remove_tree(path)
    except OSError:
        return False
    return True


def _blobs(paths: SpoolPaths, snapshot: str) -> Set[str]:
    return {entry["h"] for entry in read_manifest(paths, snapshot)["entries"] if entry["t"] == FILE}


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _age(path: str, now: float) -> float:
    try:
        return now - os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
