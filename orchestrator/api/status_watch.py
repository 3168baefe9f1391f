"""Status again and again: every host is asked at its own pace over its open link, and a dead one holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from orchestrator.api.core import Orch
from orchestrator.api.find import Located, each_once
from orchestrator.api.status import HostStatus, StatusReport, look
from orchestrator.errors import OrchError, UnreachableError
from orchestrator.hosts.inventory import HostEntry

BACKOFF_MOST = 30.0
"""Seconds between tries to reach a host that does not answer, at most."""
SILENT_SECONDS = 15.0
"""A host whose answer is so late is shown as not answering; it is waited for all the same."""


class StatusWatch:
    """Keeps the newest status of each host. Begin with `start`; `stop` when done.

    Args:
        orch: opens the links.
        hosts: names; by default all.
        interval: seconds between two questions to a host.
        keep: seconds after its end from which a job may be left out; None = never.
    """

    def __init__(self, orch: Orch, hosts: Sequence[str], interval: float, keep: float | None = None) -> None:
        self._orch = orch
        self._entries = orch.hosts(hosts)
        self._interval = interval
        self._keep = keep
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._answers: dict[str, tuple[HostStatus, list[Located]]] = {}
        self._asked: dict[str, float] = {}
        self._bug: BaseException | None = None

    def start(self) -> None:
        """Ask every host, each in a thread of its own."""
        for entry in self._entries:
            # Daemon threads: a name look-up has no deadline, and the interpreter must not wait for it at exit.
            threading.Thread(target=self._ask, args=(entry,), daemon=True, name=f"status-{entry.name}").start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Return when a host has said something new, or after so long."""
        with self._changed:
            self._changed.wait(seconds)

    def report(self) -> StatusReport:
        """Return what is known now: hosts that have not answered yet as they were last seen, without an error."""
        if self._bug is not None:
            raise self._bug
        hosts: list[HostStatus] = []
        jobs: list[Located] = []
        for entry in self._entries:
            with self._changed:
                known = self._answers.get(entry.name)
                asked = self._asked.get(entry.name)
            if asked is not None and time.monotonic() - asked > SILENT_SECONDS:
                known = self._last_seen(entry.name, UnreachableError("no answer yet", host=entry.name))
            status, found = known or self._last_seen(entry.name, None)
            hosts.append(status)
            jobs += found
        return StatusReport(hosts, each_once(jobs, self._orch.store.sent_to))

    def _last_seen(self, name: str, error: OrchError | None) -> tuple[HostStatus, list[Located]]:
        seen = self._orch.store.host_seen(name)
        return HostStatus(name, None, error, seen.seen_at if seen else None), self._orch.cached(name)

    def _ask(self, entry: HostEntry) -> None:
        try:
            self._ask_again_and_again(entry)
        except BaseException as error:  # raised where the answers are read
            self._bug = error
            with self._changed:
                self._changed.notify_all()

    def _ask_again_and_again(self, entry: HostEntry) -> None:
        pause = self._interval
        while not self._stop.is_set():
            with self._changed:
                self._asked[entry.name] = time.monotonic()
            answer = self._look(entry)
            with self._changed:
                self._answers[entry.name] = answer
                del self._asked[entry.name]
                self._changed.notify_all()
            pause = min(pause * 2, max(BACKOFF_MOST, self._interval)) if answer[0].error else self._interval
            self._stop.wait(pause)

    def _look(self, entry: HostEntry) -> tuple[HostStatus, list[Located]]:
        try:
            since = None if self._keep is None else time.time() - self._keep
            host, views = look(self._orch, self._orch.links.open(entry), since)
        except OrchError as error:
            return self._last_seen(entry.name, error)
        except OSError as error:
            return self._last_seen(entry.name, UnreachableError(str(error), host=entry.name))
        with suppress(OrchError):
            self._orch.remember(entry.name, views)
        return host, [Located(entry.name, view) for view in views]
