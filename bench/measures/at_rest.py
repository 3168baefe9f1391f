"""Keeper and supervisor at rest: one job sleeps, and nothing else is to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.history import add_finished, start_sleeper
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size
from bench.usage import cpu_seconds, memory_mb
from tests.integration.stand_in_gpu import StandInGpus

NAME = "at-rest"
MOST_CPU, MOST_MB = 0.5, 30.0
SETTLE = 3.0
ROLES = {"keeper": "keeper", "supervise": "supervisor"}


def measure(size: Size) -> Iterator[Row]:
    """Yield processor time and memory of the two, with no past, with a long one, and with a GPU held."""
    with place() as host:
        host.add()
        start_sleeper(host)
        yield from _rows(host, size, "")
    with place() as host:
        host.add()
        add_finished(host, size.history)
        start_sleeper(host)
        yield from _rows(host, size, f", {size.history:,} finished jobs")
    with place() as host, StandInGpus(host.tools):
        host.add()
        start_sleeper(host, gpus=1)
        yield from _rows(host, size, ", one GPU held")


def _rows(host: Place, size: Size, more: str) -> Iterator[Row]:
    # What starting costs is over: the files read, the first look at everything.
    time.sleep(SETTLE)
    found = {role: host.agents(role)[0] for role in ROLES}
    before = {role: cpu_seconds(pid) for role, pid in found.items()}
    began = time.monotonic()
    time.sleep(size.rest_seconds)
    seconds = time.monotonic() - began
    for role, pid in found.items():
        percent = (cpu_seconds(pid) - before[role]) / seconds * 100
        resident, shared = memory_mb(pid)
        name = ROLES[role]
        yield Row(f"{name} at rest{more}: processor", [percent], "% of a core", most=MOST_CPU,
                  note=f"over {seconds:.0f} s, with nvidia-smi where it is asked")  # fmt: skip
        yield Row(f"{name} at rest{more}: resident memory", [resident], "MB", most=MOST_MB,
                  note=f"{shared:.1f} MB when what several processes share is divided among them")  # fmt: skip
