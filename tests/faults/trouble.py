"""What may happen to a host, chosen by a dice; and how everything is made right again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from remote_payload.agent.crash import POINTS
from tests.faults.host import FaultyHost

STALL_SECONDS = 0.4
FULL_SECONDS = 0.7


class Trouble:
    """Faults for some hosts.

    Args:
        hosts: any.
        dice: chooses.

    Attributes:
        count: how often each fault was done.
    """

    def __init__(self, hosts: Sequence[FaultyHost], dice: random.Random) -> None:
        self._hosts = hosts
        self._dice = dice
        self.count: dict[str, int] = {}
        self._bodies = 0

    def points(self) -> str:
        """Return crash points for an agent that is about to be started; now and then none."""
        if self._dice.random() < 0.3:
            return ""
        names = self._dice.sample(sorted(POINTS), self._dice.randint(2, 8))
        return ";".join(f"{name}:{self._dice.choice([1, 1, 1, 2, 5])}" for name in names)

    def make(self) -> None:
        """Do one fault to one host."""
        host = self._dice.choice(self._hosts)
        line: list[Callable[[FaultyHost], object]] = [self.cut, self.cut_later, self.stall, self.throttle]
        kills: list[Callable[[FaultyHost], object]] = [self.serve, self.keeper, self.supervisor, self.supervisor]
        rare: list[Callable[[FaultyHost], object]] = [self.clock, self.reboot, self.everything]
        if host.disk:
            rare = [*rare, self.fill, self.fill]
        kinds = self._dice.choices([kills, line if host.ssh else kills, rare], [6, 4, 4 if host.disk else 2])[0]
        fault = self._dice.choice(kinds)
        fault(host)
        self.count[fault.__name__] = self.count.get(fault.__name__, 0) + 1

    def serve(self, host: FaultyHost) -> None:
        """Kill what answers a controller."""
        host.kill("serve", self._dice.random())

    def keeper(self, host: FaultyHost) -> None:
        """Kill the keeper."""
        host.kill("keeper")

    def supervisor(self, host: FaultyHost) -> None:
        """Kill one supervisor."""
        host.kill("supervise", self._dice.random())

    def everything(self, host: FaultyHost) -> None:
        """Kill all of the agent, jobs stay."""
        for role in ("keeper", "supervise", "supervise", "supervise", "serve"):
            host.kill(role, self._dice.random())

    def cut(self, host: FaultyHost) -> None:
        """Break every connection."""
        if host.ssh:
            host.ssh.proxy.cut()

    def cut_later(self, host: FaultyHost) -> None:
        """Break every connection at some byte."""
        if host.ssh:
            host.ssh.proxy.cut_after(self._dice.randint(1, 60_000))

    def stall(self, host: FaultyHost) -> None:
        """Let nothing pass for a while."""
        if host.ssh:
            host.ssh.proxy.stalled = True
            time.sleep(STALL_SECONDS)
            host.ssh.proxy.stalled = False

    def throttle(self, host: FaultyHost) -> None:
        """Make the line narrow, or wide again."""
        if host.ssh:
            host.ssh.proxy.rate = self._dice.choice([None, 20_000.0, 200_000.0])

    def clock(self, host: FaultyHost) -> None:
        """Set the host's clock back, or right."""
        host.set_clock(self._dice.choice([-86400.0, -3600.0, -5.0, 0.0]))

    def reboot(self, host: FaultyHost) -> None:
        """Restart the host; one time in three it comes back with another identity, as a copy of its disk would."""
        self._bodies += 1
        other = f"{host.name}-{self._bodies}" if self._dice.random() < 0.33 else ""
        host.reboot(other)

    def fill(self, host: FaultyHost) -> None:
        """Fill the disk to its last block, or nearly so, for a while."""
        if host.disk:
            host.disk.fill(self._dice.choice([0, 0, 4096, 50_000]))
            time.sleep(FULL_SECONDS)
            host.disk.free()

    def heal(self) -> None:
        """Make every line and clock right."""
        for host in self._hosts:
            host.set_clock(0.0)
            if host.disk:
                host.disk.free()
            if host.ssh:
                host.ssh.proxy.stalled = False
                host.ssh.proxy.rate = None
                host.ssh.proxy.cut()
