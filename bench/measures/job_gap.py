"""End of a job -> start of the next, without a GPU and on one GPU whose memory is freed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size
from tests.harness.waiting import wait_until
from tests.integration.stand_in_gpu import StandInGpus

NAME = "job-gap"
MOST_CPU, MOST_GPU = 0.3, 1.0
BUSY_MIB = 9000

# The first and the last thing the job does is to write down the time.
SCRIPT = 'date +%s.%N >"$1/$2.begin"; sleep 0.05; date +%s.%N >"$1/$2.end"'


def measure(size: Size) -> Iterator[Row]:
    """Yield the gaps of orch and of task-spooler."""
    with place() as host:
        ours = _chain(host, size.gaps, "resources: {gpus: 0}")
    peer = _task_spooler(size.gaps)
    missing = "" if peer else "task-spooler (tsp) is not installed: apt-get install task-spooler. "
    yield Row(
        "job gap, no GPU", ours, "s", "task-spooler on the host", peer, most=MOST_CPU, missing=not peer,
        note=missing + "end of one job's last command to the first command of the next",
    )  # fmt: skip
    with place() as host, StandInGpus(host.tools) as gpu:
        yield Row(
            "job gap, one GPU", _gpu_gaps(host, gpu, max(3, size.gaps // 4)), "s", most=MOST_GPU, every=True,
            note="counted from the moment nvidia-smi shows the memory free, 0.2 to 1.2 s after the job's end",
        )  # fmt: skip


def _chain(host: Place, count: int, resources: str) -> list[float]:
    cells = ", ".join(str(number) for number in range(count))
    run = SCRIPT.replace("$1", str(host.scratch)).replace("$2", "${{ matrix.n }}")
    host.project(f"jobs:\n  t:\n    run: |\n      {run}\n    matrix: {{n: [{cells}]}}\n"
                 f"    {resources}\n    max_parallel: 1\n    pull: never\n")  # fmt: skip
    host.add()
    host.orch("submit", "-d")
    wait_until(lambda: len(list(host.scratch.glob("*.end"))) == count, 30 + 3 * count, "every job ended")
    return _gaps(host.scratch)


def _gaps(folder: Path) -> list[float]:
    """Return from the marks of jobs that ran one after another how long nothing ran."""
    begins = sorted(_time(path) for path in folder.glob("*.begin"))
    ends = sorted(_time(path) for path in folder.glob("*.end"))
    return [begin - end for begin, end in zip(begins[1:], ends[:-1], strict=True)]


def _time(path: Path) -> float:
    return float(path.read_text(encoding="ascii"))


def _task_spooler(count: int) -> list[float]:
    program = shutil.which("tsp")
    if program is None:
        return []
    with place() as host:
        env = {"PATH": "/usr/bin:/bin", "TS_SOCKET": str(host.scratch / "socket"), "TMPDIR": str(host.scratch),
               "HOME": str(host.real.home), "TS_SLOTS": "1"}  # fmt: skip
        for number in range(count):
            argv = [program, "-n", "sh", "-c", SCRIPT, "sh", str(host.scratch), str(number)]
            subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: len(list(host.scratch.glob("*.end"))) == count, 30 + count, "task-spooler's jobs ended")
        gaps = _gaps(host.scratch)
        subprocess.run([program, "-K"], env=env, check=True)
        return gaps


def _gpu_gaps(host: Place, gpu: StandInGpus, count: int) -> list[float]:
    """Run jobs that take the card's memory; it comes back a while after each has ended."""
    cells = ", ".join(str(number) for number in range(count))
    run = SCRIPT.replace("$1", str(host.scratch)).replace("$2", "${{ matrix.n }}").replace("sleep 0.05", "sleep 2")
    host.project(f"jobs:\n  t:\n    run: |\n      {run}\n    matrix: {{n: [{cells}]}}\n"
                 "    resources: {gpus: 1}\n    pull: never\n")  # fmt: skip
    host.add()
    host.orch("submit", "-d")
    gaps: list[float] = []
    freed = 0.0
    for number in range(count):
        wait_until(lambda: len(list(host.scratch.glob("*.begin"))) > number, 90, "the next job began")  # noqa: B023
        begun = max(_time_written(path) for path in host.scratch.glob("*.begin"))
        if freed:
            gaps.append(begun - freed)
        gpu.use(BUSY_MIB, busy=90)
        wait_until(lambda: len(list(host.scratch.glob("*.end"))) > number, 90, "the job ended")  # noqa: B023
        # Another moment each time, so that no rhythm of the keeper is met at the same point over and over.
        time.sleep(0.2 + number * 0.618 % 1)
        gpu.use(1)
        freed = time.time()
    return gaps


def _time_written(path: Path) -> float:
    return float(wait_until(lambda: path.read_text(encoding="ascii").strip(), 5, str(path)))
