"""A job prints a line -> `orch logs -f` shows it, at no delay and at 50 ms round trip, beside `ssh tail -f`."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator

from bench.place import NAME as HOST
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size
from tests.harness.waiting import wait_until

NAME = "log-latency"
MOST_MS = 100.0
DELAYS_MS = (0, 50)
# The pause is no divisor of any rhythm of ours.
SCRIPT = """
import os, pathlib, sys, time
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.05)
for number in range(int(sys.argv[1])):
    time.sleep(0.137)
    print("line %d %.6f" % (number, time.time()), flush=True)
"""


def measure(size: Size) -> Iterator[Row]:
    """Yield the median delays."""
    for delay in DELAYS_MS:
        with place(far=True, delay=delay / 2000) as host:
            host.add()
            ours = _orch(host, size.lines)
            theirs = _tail(host, size.lines)
        assert len(ours) == len(theirs) == size.lines, "a line was lost or doubled"
        yield Row(
            f"line written -> line shown, {delay} ms round trip", ours, "ms", "ssh tail -f", theirs,
            most=MOST_MS + delay / 2, note=f"95th percentile {statistics.quantiles(ours, n=20)[-1]:.0f} ms",
        )  # fmt: skip


def _orch(host: Place, lines: int) -> list[float]:
    go = host.scratch / "go"
    host.project(f"jobs: {{t: {{run: python3 -u say.py {lines} {go}, resources: {{gpus: 0}}, pull: never}}}}\n",
                 {"say.py": SCRIPT.encode()})  # fmt: skip
    host.orch("submit", "-d")
    argv = host.laptop.argv("logs", "-f", "t")
    env = host.laptop.environment()
    with subprocess.Popen(argv, cwd=host.laptop.folder, env=env, stdout=subprocess.PIPE) as process:
        return _read(process, host, None)


def _tail(host: Place, lines: int) -> list[float]:
    go, log = host.scratch / "go", host.scratch / "log"
    go.unlink()
    log.touch()
    code = host.laptop.folder / "say.py"
    with log.open("wb") as file, subprocess.Popen(["python3", "-u", code, str(lines), str(go)], stdout=file) as job:
        argv = [*host.ssh, HOST, f"tail -n +1 -f {log}"]
        env = {"PATH": os.environ["PATH"], "HOME": str(host.laptop.home)}
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as process:
            try:
                return _read(process, host, lines)
            finally:
                process.terminate()  # it would wait for ever
                job.wait(10)


def _read(process: subprocess.Popen[bytes], host: Place, most: int | None) -> list[float]:
    """Let the job begin once somebody looks on; return how late each line came, ms. most: so many lines at most."""
    assert process.stdout is not None
    wait_until(lambda: _looks_on(host), 30, "somebody looks on")
    (host.scratch / "go").touch()
    found = []
    for line in process.stdout:
        shown = time.time()
        words = line.split()
        if words[:1] == [b"line"]:
            found.append((shown - float(words[2])) * 1000)
        if len(found) == most:
            break
    return found


def _looks_on(host: Place) -> bool:
    # A connection is open: what follows it may come up a little later, which costs the first line only.
    return bool(host.real.server.sessions())
