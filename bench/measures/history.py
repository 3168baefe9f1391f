"""A spool of 10,000 finished jobs beside an empty one: what people wait for, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from bench.history import add_finished
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size
from tests.harness.waiting import wait_until

NAME = "history"
MOST = 1.25
"""Twice the spread of such figures on a machine that does other things as well: less cannot be told from nothing."""


def measure(size: Size) -> Iterator[Row]:
    """Yield ratios to the same with nothing in the spool."""
    with place(name="old-") as old, place(name="new-") as new:
        for host in (old, new):
            host.add()
        add_finished(old, size.history)
        for host in (old, new):
            _start(host, "first")
            host.quiet()
        for what, act, budget in ACTS:
            found: dict[Place, list[float]] = {old: [], new: []}
            for number in range(size.runs if budget else min(size.runs, 3)):
                for host in (old, new):
                    found[host].append(act(host, str(number)))
                    host.quiet()
            yield Row(f"{what}, {size.history:,} finished jobs", found[old], "s", "with an empty spool", found[new],
                      most_ratio=budget)  # fmt: skip


def _start(host: Place, mark: str) -> float:
    """Return seconds from the command to the job's first line."""
    file = host.scratch / f"h-{mark}"
    file.unlink(missing_ok=True)
    host.project(f"jobs: {{n: {{run: 'date +%s.%N > {file}', resources: {{gpus: 0}}, pull: never}}}}\n")
    began = time.time()
    host.orch("submit", "-d", "--again")
    text = wait_until(lambda: file.exists() and file.read_text(encoding="ascii").strip(), 60, "the job began")
    return float(text) - began


def _command(*words: str) -> Callable[[Place, str], float]:
    return lambda host, mark: host.orch(*words).seconds


ACTS: tuple[tuple[str, Callable[[Place, str], float], float | None], ...] = (
    ("orch status", _command("status"), MOST),
    ("submit -> process started", _start, MOST),
    ("orch logs of the newest", _command("logs"), None),
    ("orch wait on what is over", _command("wait"), None),
    ("orch show of one job", _command("show", "n"), None),
)
"""What is done, how, and how many times the empty spool's time it may take (None: no such budget)."""
