"""Many real sshds and one laptop that knows them all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.place import Place
from orchestrator.loopback import BARE_PATH
from tests.harness.hosts import RealHost
from tests.integration.stand_in_gpu import StandInGpus

AT_ONCE = 5


class Fleet:
    """Hosts and the laptop of the first of them, which knows all.

    Args:
        places: the hosts.
    """

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self.lead = places[0]
        self.names = [f"h{number}" for number in range(len(places))]
        folder = self.lead.real.folder
        self.ssh_config = folder / "fleet_config"
        known, lines = "", []
        for name, each in zip(self.names, places, strict=True):
            known += f"[127.0.0.1]:{each.port} {each.real.server.public_key()}\n"
            text = (each.real.folder / "ssh_config").read_text(encoding="utf-8")
            lines.append(text.replace("Host box\n", f"Host {name}\n", 1))
            self.lead.orch("host", "add", name, each.login, "--no-check")
        self.ssh_config.write_text("\n".join(lines), encoding="utf-8")
        (self.lead.laptop.home / "orch" / "known_hosts").write_text(known, encoding="utf-8")

    def meet(self) -> None:
        """Bring the agent to every host, a few at a time."""
        for at in range(0, len(self.names), AT_ONCE):
            chosen = [word for name in self.names[at : at + AT_ONCE] for word in ("--host", name)]
            self.lead.orch("status", *chosen)


@contextlib.contextmanager
def fleet(count: int, *, last_far: bool = False) -> Iterator[Fleet]:
    """Yield so many hosts, each with an nvidia-smi that shows two cards.

    Args:
        count: how many.
        last_far: the last one is reached through its proxy, which can make it silent.
    """
    with contextlib.ExitStack() as stack:
        places = []
        for number in range(count):
            folder = Path(tempfile.mkdtemp(prefix=f"orch-bench-{number}-"))
            stack.callback(shutil.rmtree, folder)
            (folder / "tools").mkdir()
            real = stack.enter_context(RealHost(folder, path=f"{folder / 'tools'}:{BARE_PATH}"))
            stack.enter_context(StandInGpus(folder / "tools", ("NVIDIA GeForce RTX 4090",) * 2))
            made = Place(real, last_far and number == count - 1)
            stack.callback(made.end)
            places.append(made)
        yield Fleet(places)
