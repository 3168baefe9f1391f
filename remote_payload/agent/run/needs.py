"""Jobs that wait for other jobs of their submission."""

from __future__ import annotations

import os
import re
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple, Union

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.run.ending import Ending
from remote_payload.agent.run.scheduler import Waiting
from remote_payload.agent.spool import states, submissions
from remote_payload.agent.spool.fold import fold, is_final
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.wire.messages import JobSpec

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
NAMED = 3
"""Jobs named in the words for people; of more only the number is told."""


class Unmet(NamedTuple):
    """A needed job ended without success: how the job that needs it ends."""

    ending: Ending


class _Seen(NamedTuple):
    folder_ns: int
    state: str


class Needs:
    """Says how far the jobs are that a job needs.

    Args:
        paths: of the spool.
        live: whether a job's id is that of an unfinished job, whose state is not asked for.
    """

    def __init__(self, paths: SpoolPaths, live: Callable[[str], bool]) -> None:
        self._paths = paths
        self._live = live
        self._ended: Dict[str, _Seen] = {}

    def look(self, spec: JobSpec) -> Union[Waiting, Unmet, None]:
        """Return None when every needed job has succeeded, else what the job waits for or how it ends."""
        unmet: List[Tuple[str, str]] = []
        open_: List[str] = []
        for need in spec.get("needs") or []:
            for job in need["ids"]:
                state = states.PENDING if self._live(job) else self._state(job)
                if state is None or (is_final(state) and state != states.SUCCEEDED):
                    unmet.append((need["job"], state or "not on this host"))
                elif state != states.SUCCEEDED:
                    open_.append(need["job"])
        if unmet:
            name, state = unmet[0]
            return Unmet(Ending("dependency_failed", None, None, "{} is {}".format(name, state)))
        return Waiting("needs", _words(open_)) if open_ else None

    def _state(self, job: str) -> Optional[str]:
        """The state of a job that is not unfinished; None when this host does not know it."""
        changed = _mtime_ns(self._paths.job(job).folder)
        seen = self._ended.get(job)
        if seen is None or seen.folder_ns != changed:
            try:
                spec = submissions.load_job(self._paths, job)
                seen = _Seen(changed, fold(submissions.load_facts(self._paths, spec), time.time()).state)
            except AgentFault:
                return None
            self._ended[job] = seen
        return seen.state


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise AgentFault("bad_request", "not a job's name: {!r}".format(name)[:200])
    return name


def _words(names: List[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - NAMED
    return ", ".join(distinct[:NAMED]) + (" and {} more".format(more) if more > 0 else "")


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def link_needed(paths: SpoolPaths, spec: JobSpec) -> Dict[str, str]:
    """Return {ORCH_NEED_<JOB>: folder} of a job, making the folders of links that several cells need.

    One needed job: its output folder. Several cells: a folder with one symlink a cell, named like it.

    Raises:
        OSError: they cannot be made.
        AgentFault: a needed job is not on this host.
    """
    found: Dict[str, str] = {}
    for need in spec.get("needs") or []:
        name = "ORCH_NEED_" + re.sub(r"[^A-Z0-9]", "_", _plain(need["job"]).upper())
        if len(need["ids"]) == 1:
            found[name] = paths.job(need["ids"][0]).outputs
            continue
        folder = os.path.join(paths.job(spec["id"]).folder, "needs", need["job"])
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for job in need["ids"]:
            link = os.path.join(folder, _plain(submissions.load_job(paths, job)["name"]))
            if not os.path.islink(link):
                os.symlink(paths.job(job).outputs, link)
        found[name] = folder
    return found
