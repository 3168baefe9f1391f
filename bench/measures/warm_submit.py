"""One file was edited; from the command to the first line of the job, beside rsync and `ssh … nohup` by hand."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import trees
from bench.place import NAME as HOST
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size
from tests.harness.waiting import wait_until

NAME = "warm-submit"
MOST = 0.6
FILES, FILE_BYTES = 100, 5000
DELAYS_MS = (0, 50)
Way = Callable[[Place, Path], None]


def measure(size: Size) -> Iterator[Row]:
    """Yield the times at no delay and at 50 ms round trip."""
    for delay in DELAYS_MS:
        with place(far=True, delay=delay / 2000) as host:
            host.add()
            trees.fill(host.laptop.folder, FILES, FILE_BYTES, 1)
            ways: dict[str, Way] = {
                "orch": _orch,
                "rsync, then ssh nohup": _by_hand,
                "the same over a ControlMaster": _mastered,
            }
            if shutil.which("rsync") is None:
                ways = {"orch": _orch}
            found = _in_turn(host, ways, size.runs)
            ours = found.pop("orch")
            for peer, runs in found.items() or [("rsync", [])]:
                yield Row(
                    f"warm submit -> process started, {delay} ms", ours, "s", peer, runs,
                    most_ratio=MOST if peer != "the same over a ControlMaster" else None, missing=not runs,
                    note=f"{FILES} files, one edited each time" if runs else "rsync is not installed",
                )  # fmt: skip
            _end_master(host)


def _in_turn(host: Place, ways: dict[str, Way], runs: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(runs + 1):
        for at, (name, way) in enumerate(ways.items()):
            trees.change_one(host.laptop.folder, number * 10 + at)
            mark = host.scratch / f"mark-{number}-{at}"
            host.laptop.jobs_yaml(
                f"jobs: {{t: {{run: 'date +%s.%N > {mark}', resources: {{gpus: 0}}, pull: never}}}}\n"
            )
            began = time.time()
            way(host, mark)
            if number:  # the first time of each sends everything, and counts for nothing
                found[name].append(_written(mark) - began)
            host.quiet()
    return found


def _written(mark: Path) -> float:
    return float(wait_until(lambda: mark.exists() and mark.read_text().strip(), 60, "the process began"))


def _orch(host: Place, mark: Path) -> None:
    host.orch("submit", "-d", "--again")


def _by_hand(host: Place, mark: Path) -> None:
    _send_and_start(host, host.ssh, mark)


def _mastered(host: Place, mark: Path) -> None:
    _send_and_start(host, _master(host), mark)


def _send_and_start(host: Place, ssh: list[str], mark: Path) -> None:
    target = host.scratch / "code"
    host.peer("rsync", "-az", "--delete", "-e", " ".join(ssh), "./", f"{HOST}:{target}/")
    start = f"cd {target} && nohup sh -c 'date +%s.%N > {mark}' >log 2>&1 </dev/null &"
    host.peer(*ssh, HOST, start)


def _master(host: Place) -> list[str]:
    socket = host.real.folder / "cm"
    return [*host.ssh, "-o", "ControlMaster=auto", "-o", f"ControlPath={socket}", "-o", "ControlPersist=600"]


def _end_master(host: Place) -> None:
    if (host.real.folder / "cm").exists():
        host.peer(*_master(host), "-O", "exit", HOST)
