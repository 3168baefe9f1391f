"""What the methods of one connection share: the open spool and what was read of it."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.hostroot import Spool, require_own
from remote_payload.agent.spool.keeper_start import start_keeper
from remote_payload.agent.spool.locks import is_held
from remote_payload.agent.spool.packs import PackIndex
from remote_payload.agent.spool.paths import SpoolPaths, is_digest
from remote_payload.agent.spool.place import agent_dir
from remote_payload.agent.spool.submissions import Submissions
from remote_payload.agent.spool.views import Views
from remote_payload.agent.wire.messages import JobSpec

TEND_SECONDS = 2.0


class Context:
    """One connection.

    Args:
        say: sends a log record (level, text) to the controller.
        leave: makes the server end after what was asked so far.
    """

    def __init__(self, say: Callable[[str, str], None], leave: Callable[[], None]) -> None:
        self.say = say
        self.leave = leave
        self.profile: Dict[str, Any] = {}
        self._guard = threading.Lock()
        self._spool: Optional[Spool] = None
        self._book: Optional[Submissions] = None
        self._told: Set[str] = set()
        self._views: Optional[Views] = None
        self._packs: Optional[PackIndex] = None
        self._tended = time.monotonic()

    def bind(self, spool: Spool, profile: Dict[str, Any]) -> None:
        """Work on a spool from now on."""
        with self._guard:
            self._spool, self.profile = spool, profile
            self._book = Submissions(spool.paths)
            self._views = Views(spool.paths, spool.moved)
            self._packs = PackIndex(spool.paths)

    @property
    def spool(self) -> Spool:
        """The open spool.

        Raises:
            AgentFault: not_open.
        """
        if self._spool is None:
            raise AgentFault("not_open", "no spool is open on this connection", "call open first")
        return self._spool

    @property
    def is_open(self) -> bool:
        """Whether there is an open spool."""
        return self._spool is not None

    @property
    def paths(self) -> SpoolPaths:
        """The names in the open spool. Raises AgentFault: not_open."""
        return self.spool.paths

    def own(self) -> SpoolPaths:
        """Return the names in the open spool, for what starts something.

        Raises:
            AgentFault: not_open, or moved when the spool is another host's.
        """
        require_own(self.spool.paths, self.spool.host_id)
        return self.spool.paths

    def tend(self) -> None:
        """Start a keeper where none lives; for what waits on jobs that are not over. Looks every few seconds only.

        A keeper that was killed would else be missed until the next command, while somebody sits and watches.
        """
        now = time.monotonic()
        with self._guard:
            due = now - self._tended >= TEND_SECONDS
            self._tended = now if due else self._tended
        if due and not self.spool.moved and not is_held(self.paths.keeper_lock):
            try:
                start_keeper(self.paths)
            except AgentFault as fault:
                self.say("warning", fault.message)

    @property
    def views(self) -> Views:
        """Makes job views. Raises AgentFault: not_open."""
        if self._views is None:
            raise AgentFault("not_open", "no spool is open on this connection", "call open first")
        return self._views

    @property
    def conda_roots(self) -> List[str]:
        """The profile's folders of conda."""
        roots = self.profile.get("conda_roots")
        return [root for root in roots if isinstance(root, str)] if isinstance(roots, list) else []

    @property
    def search_path(self) -> Optional[str]:
        """The profile's PATH, None for the agent's own."""
        path = self.profile.get("path")
        return path if isinstance(path, str) else None

    def jobs(self, project: Optional[str] = None, submission: Optional[str] = None) -> List[JobSpec]:
        """Return stored jobs, those of the newest submission first."""
        with self._guard:
            book = self._fresh()
            stored = book.submissions()
        found: Dict[str, JobSpec] = {}
        for each in stored:
            for spec in each["jobs"]:
                # The submission a job was made in: its own, unless it came from another host.
                if submission in (None, each["id"], spec["submission"]) and project in (None, spec.get("project")):
                    found.setdefault(spec["id"], spec)
        return list(found.values())

    def recent(self, since: float = float("inf"), project: Optional[str] = None) -> List[JobSpec]:
        """Return the jobs that are not over, or ended at or after a time (seconds since the epoch)."""
        with self._guard:
            stored = self._opened().recent(since)
            self._fresh()
        found: Dict[str, JobSpec] = {}
        for spec in stored:
            if project in (None, spec.get("project")):
                found.setdefault(spec["id"], spec)
        return list(found.values())

    def broken(self) -> Dict[str, str]:
        """Return {file: why} of stored submissions that cannot be used."""
        with self._guard:
            return dict(self._fresh().broken)

    def find(self, job: str) -> JobSpec:
        """Return one job.

        Raises:
            AgentFault: not_found.
        """
        with self._guard:
            spec = self._fresh().find(job)
        if spec is None:
            raise AgentFault("not_found", "there is no job {} on this host".format(job))
        return spec

    def find_all(self, ids: Sequence[str]) -> List[JobSpec]:
        """Return jobs by their ids, each once.

        Raises:
            AgentFault: not_found, for the first that is not here.
        """
        with self._guard:
            book = self._fresh()
            found = {job: book.find(job) for job in ids}
        for job, spec in found.items():
            if spec is None:
                raise AgentFault("not_found", "there is no job {} on this host".format(job))
        return [spec for spec in found.values() if spec is not None]

    def stored(self, job: str) -> bool:
        """Tell whether a job is here."""
        with self._guard:
            return self._fresh().find(job) is not None

    def packs(self) -> PackIndex:
        """Return a fresh index of the stored blobs."""
        if self._packs is None:
            raise AgentFault("not_open", "no spool is open on this connection", "call open first")
        with self._guard:
            self._packs.refresh()
            return self._packs

    def _opened(self) -> Submissions:
        if self._book is None:
            raise AgentFault("not_open", "no spool is open on this connection", "call open first")
        return self._book

    def _fresh(self) -> Submissions:
        book = self._opened()
        book.refresh()
        for name in set(book.broken) - self._told:
            self.say("warning", book.broken[name])
        self._told = set(book.broken)
        return book


def agent_hash() -> str:
    """Return the digest this agent was installed by, "" when it runs from a checkout."""
    name = os.path.basename(os.path.dirname(agent_dir()))
    return name if is_digest(name) and len(name) == 64 else ""
