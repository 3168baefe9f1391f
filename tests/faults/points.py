"""One life of a host in which every crash point is passed, and a process dies at each of those that are armed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.remote.agent_link import AgentLink
from tests.faults.batch import Batch
from tests.faults.controller import Controller, Told
from tests.faults.host import FaultyHost
from tests.faults.jobs import Planned, Witness, fails, outputs, quick, stubborn
from tests.faults.settle import look, settle
from tests.faults.spoolfiles import read_spool
from tests.harness.waiting import wait_until


class Life:
    """The whole story of one host.

    Args:
        folder: for everything.
        agents: where the agent is unpacked.
        code: a code tree.
        python: the jobs' interpreter.
        points: where a process is to die, once each.
    """

    def __init__(self, folder: Path, agents: Path, code: Path, python: str, points: Sequence[str]) -> None:
        self._points = points
        self._witness = Witness(folder / "witness")
        self._told = Told()
        self._code = code
        self._python = python
        self._dice = random.Random(0)
        self._host = FaultyHost(folder / "h1", agents, points=";".join(f"{name}:1" for name in points))
        self._me = Controller([self._host], self._told)

    def live(self) -> list[str]:
        """Return the violations; a point that nobody came to is one as well."""
        try:
            self._use_everything()
            found = settle([self._host], [self._me])
            missed = set(self._points) - self._host.passed()
            found += [f"nobody came to {name}" for name in sorted(missed)]
            return found + look([self._host], self._told, self._witness)
        finally:
            self._host.close()

    def _use_everything(self) -> None:
        kept = {"retry": {"max": 5, "on": ["host"], "backoff": 0.0}}
        waits = Planned("sleeps", '[ "$ORCH_ATTEMPT" -gt 1 ] || sleep 30', {"gpus": 1, **kept})
        goes = Planned("sleeps", "sleep 30", {"gpus": 0, "grace": 0.3})
        withdrawn, first = quick(self._dice), quick(self._dice)
        self._sure(lambda link: link.pause(True, "me"))
        (away,) = self._send(withdrawn)
        self._sure(lambda link: link.withdraw([away], "s-gone1", "h2"))
        del self._told.acknowledged[away]
        self._sure(lambda link: link.pause(False, "me"))
        self._send(first, outputs(self._dice), stubborn(self._dice))
        (failed,) = self._send(fails(self._dice))
        (cancelled,) = self._send(goes)
        (orphan,) = self._send(waits)
        self._sure(lambda link: link.cancel([cancelled], "me"))
        self._over(failed)
        self._sure(lambda link: link.retry([failed], "r1"))
        self._orphan(orphan)
        self._after_a_failure(failed)
        settle([self._host], [self._me])
        self._host.reboot("h1-again")
        self._me.adopt(self._host)

    def _orphan(self, job: str) -> None:
        """Kill the supervisor of a job that runs."""

        def running() -> bool:
            self._me.ask(self._host, lambda link: None)
            attempts = read_spool(self._host.root).jobs[job].attempts
            return bool(attempts) and attempts[-1].start is not None

        wait_until(running, 30, f"{job} runs")
        self._host.kill("supervise", job=job)

    def _after_a_failure(self, failed: str) -> None:
        """A job that needs one which failed ends without a start."""
        batch = self._batch([quick(self._dice)])
        batch.specs[0]["needs"] = [{"job": "fails-0", "ids": [failed]}]
        self._submit(batch)

    def _over(self, job: str) -> None:
        def over() -> bool:
            self._me.ask(self._host, lambda link: None)
            return read_spool(self._host.root).jobs[job].over

        wait_until(over, 60, f"{job} is over")

    def _send(self, *planned: Planned) -> list[str]:
        batch = self._batch(planned)
        self._submit(batch)
        return batch.ids

    def _batch(self, planned: Sequence[Planned]) -> Batch:
        return Batch(self._code, planned, self._witness, "h1", self._python, random.Random(1))

    def _submit(self, batch: Batch) -> None:
        self._me.pending.append(batch)

        def sent() -> bool:
            self._me.finish(self._host)
            return batch not in self._me.pending

        wait_until(sent, 30, "a submission is acknowledged")

    def _sure(self, wish: Callable[[AgentLink], object]) -> None:
        """Ask until it is answered, as a person does."""
        wait_until(lambda: self._me.ask(self._host, lambda link: (wish(link), True)), 30, "an answer")
