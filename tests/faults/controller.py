"""A controller that goes on whatever happens to its line or its host, and remembers what it was promised."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from orchestrator.errors import AgentError, HostError
from orchestrator.fetch.pull import pull_job
from orchestrator.remote.agent_link import AgentLink
from tests.faults.batch import Batch
from tests.faults.host import FaultyHost

T = TypeVar("T")
HARMLESS = {"moved", "no_keeper", "refused", "disk_full", "no_marker"}
"""Answers of an agent that a fault may bring about."""


class Told:
    """What controllers know: shared by all of a round, from many threads.

    Attributes:
        acknowledged: jobs that are stored, each with its host's name.
        shown: the bytes of each log that a controller was shown to its end.
        odd: answers no fault may bring about.
    """

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.acknowledged: dict[str, str] = {}
        self.shown: dict[tuple[str, str, int], bytes] = {}
        self.odd: list[str] = []
        self.calls = 0

    def stored(self, batch: Batch) -> None:
        """Take in an acknowledgement."""
        with self.guard:
            self.acknowledged.update(dict.fromkeys(batch.ids, batch.host))


class Move(Protocol):
    """Jobs on their way from one host to another."""

    def step(self, controller: Controller) -> bool:
        """Go on as far as it works; True once it is done."""


class Controller:
    """One person's laptop.

    Args:
        hosts: that it knows.
        told: what it learns.
        points: crash points for an agent it starts, asked for anew each time.
    """

    def __init__(self, hosts: Sequence[FaultyHost], told: Told, points: Callable[[], str] = str) -> None:
        self.hosts = hosts
        self.told = told
        self._points = points
        self.pending: list[Batch] = []
        self.moves: list[Move] = []

    def ask(self, host: FaultyHost, wish: Callable[[AgentLink], T]) -> T | None:
        """Connect and ask; None when the host, the line or the agent failed on the way."""
        try:
            with host.link(self._points()) as link:
                with self.told.guard:
                    self.told.calls += 1
                return wish(link)
        except AgentError as error:
            if error.code not in HARMLESS:
                with self.told.guard:
                    self.told.odd.append(f"odd answer of {host.name}: {error.code}: {error}")
        except HostError:
            pass
        return None

    def submit(self, host: FaultyHost, batch: Batch) -> bool:
        """Send a batch; True once it is acknowledged. Else it is kept, and sent again by `finish`."""
        self.pending.append(batch)
        return self._send(host, batch)

    def finish(self, host: FaultyHost) -> None:
        """Send again what was interrupted, under the same ids."""
        for batch in [each for each in self.pending if each.host == host.name]:
            self._send(host, batch)
        for move in [each for each in self.moves if each.step(self)]:
            self.moves.remove(move)

    def _send(self, host: FaultyHost, batch: Batch) -> bool:
        done = self.ask(host, batch.send)
        if done is None:
            return False
        self.told.stored(batch)
        self.pending.remove(batch)
        return True

    def adopt(self, host: FaultyHost) -> None:
        """Make the queue of the machine that the host was before this one's."""

        def take(link: AgentLink) -> None:
            others = [each["host_id"] for each in link.opened["others"] if each["root"] == str(host.root)]
            if others or link.opened["moved"]:
                link.adopt(others[0] if others else None, "me")

        self.ask(host, take)

    def some(self, host: FaultyHost, dice: random.Random, most: int = 3) -> list[str]:
        """Return a few acknowledged jobs of a host."""
        with self.told.guard:
            known = sorted(job for job, where in self.told.acknowledged.items() if where == host.name)
        return dice.sample(known, min(len(known), dice.randint(1, most)))

    def follow(self, host: FaultyHost, job: str, tries: int = 40) -> None:
        """Follow a job to its end over as many lines as it takes, and remember what was shown when it came so far."""
        shown: dict[int, bytes] = {}

        def read(link: AgentLink) -> bool:
            attempt = max(shown, default=1)
            for piece in link.follow(job, attempt, len(shown.get(attempt, b""))):
                there = shown.setdefault(piece.attempt, b"")
                if piece.data and piece.offset != len(there):
                    with self.told.guard:
                        self.told.odd.append(f"{job}: bytes at {piece.offset} shown behind {len(there)}")
                shown[piece.attempt] = there + piece.data
            return True

        for _ in range(tries):
            if self.ask(host, read):
                with self.told.guard:
                    self.told.shown.update({(host.name, job, number): data for number, data in shown.items()})
                return


def results_of(link: AgentLink, folder: Path) -> dict[str, Path]:
    """Pull every job of a host; return each one's folder."""
    return {view["id"]: pull_job(link, view, folder).folder for view in link.jobs()}
