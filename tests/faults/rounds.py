"""One round: hosts, controllers and jobs, faults for some seconds, then rest, then the reader looks."""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.batch import Batch
from tests.faults.controller import Controller, Told
from tests.faults.host import FaultyHost
from tests.faults.jobs import Witness, plan
from tests.faults.moving import Moving
from tests.faults.reader import in_motion
from tests.faults.settle import look, settle
from tests.faults.smalldisk import SmallDisk
from tests.faults.trouble import Trouble

JOIN_SECONDS = 60.0


@dataclass(frozen=True)
class Scale:
    """How large a round is.

    seconds: of faults. jobs: at most, per submission. ssh: whether a host is behind sshd. pull: whether results are
    brought home at the end. full_disk: whether the first host's spool lies on a small disk that is filled.
    """

    seconds: float = 6.0
    hosts: int = 2
    controllers: int = 3
    jobs: int = 6
    submissions: int = 4
    ssh: bool = True
    pull: bool = True
    full_disk: bool = False


DISK_BYTES = 96 * 1024 * 1024
SHORT = Scale(seconds=2.5, hosts=1, controllers=2, jobs=4, submissions=2, ssh=False)


@dataclass
class Report:
    """What a round came to."""

    seed: int
    jobs: int = 0
    attempts: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class Round:
    """A world made from a seed.

    Args:
        folder: for everything; the hosts lie in it.
        seed: of every dice. The same seed makes the same jobs and chooses the same faults; when they fall is up to
            the machine.
        scale: how large.
        agents: where the agent is unpacked, None for a place of its own.
    """

    def __init__(self, folder: Path, seed: int, scale: Scale, agents: Path | None = None) -> None:
        self._folder = folder
        self._agents = agents or folder / "agents"
        self._seed = seed
        self._scale = scale
        self._over = threading.Event()
        self._told = Told()
        self._witness = Witness(folder / "witness")
        self._code = folder / "code"
        self._code.mkdir(parents=True)
        (self._code / "train.py").write_text("print('hello')\n" * 200)
        self._python = shutil.which("python3") or "python3"
        self._seen: set[str] = set()
        self._broken: list[str] = []

    def run(self) -> Report:
        """Live through it."""
        began = time.monotonic()
        report = Report(self._seed)
        hosts: list[FaultyHost] = []
        disk = SmallDisk(self._folder / "h1" / "disk", DISK_BYTES) if self._scale.full_disk else None
        try:
            for number in range(self._scale.hosts):
                ssh = self._scale.ssh and number == self._scale.hosts - 1
                # On a disk of its own, as rented hosts have it: a copy of the host finds the queue of the first.
                place = self._folder / f"h{number + 1}"
                small = disk if number == 0 else None
                root = place / "disk" / "spool"
                hosts.append(FaultyHost(place, self._agents, ssh=ssh, root=root, disk=small))
            trouble = Trouble(hosts, random.Random(f"{self._seed} faults"))
            controllers = self._faulty_time(hosts, trouble)
            trouble.heal()
            report.faults = trouble.count
            report.violations = settle(hosts, controllers) + self._broken + sorted(self._seen)
            laptop = self._folder / "laptop" if self._scale.pull else None
            report.violations += look(hosts, self._told, self._witness, laptop)
            report.jobs = len(self._told.acknowledged)
            lines = self._witness.effects.read_text().splitlines() if self._witness.effects.exists() else []
            report.attempts = sum(line.endswith(" begin") for line in lines)
        finally:
            for host in hosts:
                report.crashes += host.crashes()
                host.close()
            if disk is not None:
                disk.close()
        report.seconds = time.monotonic() - began
        return report

    def _faulty_time(self, hosts: list[FaultyHost], trouble: Trouble) -> list[Controller]:
        controllers = [Controller(hosts, self._told, trouble.points) for _ in range(self._scale.controllers)]
        threads = [self._thread(f"person-{n}", lambda n=n, c=c: self._use(n, c)) for n, c in enumerate(controllers)]  # type: ignore[misc]
        threads.append(self._thread("observer", lambda: self._observe(hosts)))
        dice = random.Random(f"{self._seed} pauses")
        until = time.monotonic() + self._scale.seconds
        while time.monotonic() < until:
            self._over.wait(dice.uniform(0.0, 0.4))
            trouble.make()
        self._over.set()
        trouble.heal()
        for host in hosts:
            # Who follows a job of a queue that nobody adopts would wait for ever, and rightly.
            Controller(hosts, self._told).adopt(host)
        for thread in threads:
            thread.join(JOIN_SECONDS)
            if thread.is_alive():
                frame = sys._current_frames().get(thread.ident or 0)
                self._broken.append(f"{thread.name} hangs\n{''.join(traceback.format_stack(frame))}")
        return controllers

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:  # told in the report; a round that fails by itself is no good round
                self._broken.append(f"{name}: {error!r}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _observe(self, hosts: list[FaultyHost]) -> None:
        while not self._over.wait(0.05):
            self._seen.update(in_motion([host.root for host in hosts]))

    def _use(self, number: int, controller: Controller) -> None:
        """What one person does: submits now and then, and looks, stops and tries again in between."""
        dice = random.Random(f"{self._seed} person {number}")
        sent: list[Batch] = []
        wishes = [self._look_around, self._cancel, self._retry, self._follow, self._adopt, self._reorder]
        while not self._over.wait(dice.uniform(0.0, 0.2)):
            host = dice.choice(controller.hosts)
            if len(sent) < self._scale.submissions and dice.random() < 0.4:
                planned = plan(dice, dice.randint(1, self._scale.jobs))
                sent.append(Batch(self._code, planned, self._witness, host.name, self._python, dice))
                controller.submit(host, sent[-1])
            elif dice.random() < 0.1 and sent and len(controller.hosts) > 1:
                self._move(controller, dice.choice(sent), dice)
            else:
                dice.choice(wishes)(controller, host, dice)

    def _look_around(self, controller: Controller, host: FaultyHost, dice: random.Random) -> None:
        del dice
        controller.ask(host, lambda link: (link.status(), link.jobs()))

    def _cancel(self, controller: Controller, host: FaultyHost, dice: random.Random) -> None:
        jobs = controller.some(host, dice)
        if jobs and dice.random() < 0.5:
            controller.ask(host, lambda link: link.cancel(jobs, "me"))

    def _retry(self, controller: Controller, host: FaultyHost, dice: random.Random) -> None:
        jobs, request = controller.some(host, dice), f"r{dice.randint(0, 10**9)}"
        if jobs:
            controller.ask(host, lambda link: link.retry(jobs, request))
            # A lost reply is asked for again: it must not count twice.
            controller.ask(host, lambda link: link.retry(jobs, request))

    def _follow(self, controller: Controller, host: FaultyHost, dice: random.Random) -> None:
        for job in controller.some(host, dice, 1):
            controller.follow(host, job, 3)

    def _adopt(self, controller: Controller, host: FaultyHost, dice: random.Random) -> None:
        del dice
        controller.adopt(host)

    def _reorder(self, controller: Controller, host: FaultyHost, dice: random.Random) -> None:
        jobs, priority = controller.some(host, dice), dice.randint(-10, 10)
        if jobs:
            controller.ask(host, lambda link: link.prioritise(jobs, priority, "me"))

    def _move(self, controller: Controller, batch: Batch, dice: random.Random) -> None:
        source, target = dice.sample(list(controller.hosts), 2)
        here = [job for job in batch.ids if self._told.acknowledged.get(job) == source.name]
        if here:
            move = Moving(batch, dice.sample(here, dice.randint(1, len(here))), source, target)
            controller.moves.append(move)
            if move.step(controller):
                controller.moves.remove(move)
