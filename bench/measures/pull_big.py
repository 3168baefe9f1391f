"""A large file home, beside `rsync -a`; what is sent again after a cut; and the small questions asked meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.place import NAME as HOST
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size
from orchestrator.api.core import Orch
from orchestrator.errors import OrchError
from orchestrator.fetch.pull import pull_job
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.asker import SilentAsker
from remote_payload.agent.wire.messages import JobView
from tests.harness.waiting import wait_until

NAME = "pull-big"
MOST = 1.5
NARROW = 1_000_000
DELAY = 0.025
MOST_ASKED_MS = 2000 * DELAY + 150
ASKED = 20
CUT_BYTES = 50_000_000
MOST_TWICE_MB = 4.5
"""The window that may be under way (4 MB), and the protocol around the file."""
OUTPUT = "w.bin"


def measure(size: Size) -> Iterator[Row]:
    """Yield the times of both, in turn; the bytes sent twice; how long a question takes beside a pull."""
    with place() as host:
        source = _make(host, size.pull_bytes)
        yield _beside_rsync(host, source, size)
    with place(far=True) as host:
        _make(host, CUT_BYTES)
        yield _after_a_cut(host, CUT_BYTES)
    with place(far=True, delay=DELAY) as host:
        _make(host, 60_000_000)
        yield _asked_meanwhile(host)


def _make(host: Place, count: int) -> Path:
    """Run a job that leaves so many random bytes; return the file on the host."""
    run = f"head -c {count} /dev/urandom > $ORCH_OUTPUT_DIR/{OUTPUT}"
    host.project(f"jobs: {{t: {{run: '{run}', resources: {{gpus: 0}}, pull: never}}}}\n")
    host.add()
    host.orch("submit", "-d")
    host.orch("wait")
    (found,) = Path(host.spool.jobs).glob(f"*/outputs/{OUTPUT}")
    assert found.stat().st_size == count
    return found


def _beside_rsync(host: Place, source: Path, size: Size) -> Row:
    ours, theirs = [], []
    for _ in range(min(size.runs, 3)):
        target = host.real.folder / "pulled"
        ours.append(host.orch("pull", "t", "--to", str(target)).seconds)
        shutil.rmtree(target)
        if shutil.which("rsync"):
            argv = ("rsync", "-a", "-e", " ".join(host.ssh), f"{HOST}:{source}", f"{target}/")
            theirs.append(host.peer(*argv).seconds)
            shutil.rmtree(target)
    return Row(
        f"pull of {size.pull_bytes / 1e6:,.0f} MB", ours, "s", "rsync -a", theirs, most_ratio=MOST, missing=not theirs,
        note="random bytes; orch also checks their SHA-256" if theirs else "rsync is not installed",
    )  # fmt: skip


def _after_a_cut(host: Place, count: int) -> Row:
    """Cut the line once, in the middle of the file; what then passes beside the file is what was sent twice."""
    proxy = host.real.proxy
    target = host.real.folder / "pulled"
    proxy.reset_counts()
    proxy.cut_after(count // 2)
    host.orch("pull", "t", "--to", str(target), codes=range(256))
    first = proxy.bytes_down
    host.orch("pull", "t", "--to", str(target))
    (file,) = target.rglob(OUTPUT)
    assert file.stat().st_size == count, "the file is whole after the second try"
    again = max(0.0, (proxy.bytes_down - count) / 1e6)
    return Row(f"pull of {count / 1e6:,.0f} MB, cut in the middle: sent beside the file itself", [again], "MB",
               most=MOST_TWICE_MB,
               note=f"{first / 1e6:.1f} MB had passed when the line was cut (or the pull went on by itself); protocol "
                    "and the window under way are in the figure")  # fmt: skip


def _asked_meanwhile(host: Place) -> Row:
    """Ask for the jobs on the very link that a pull fills, the line being narrow."""
    host.real.proxy.rate = NARROW
    home = Path(host.laptop.home) / "orch"
    seconds: list[float] = []
    with Orch(host.laptop.folder, asker=SilentAsker(), home=home) as orch:
        link = orch.link(HOST)
        job = link.jobs()[0]
        done = threading.Event()
        puller = threading.Thread(target=_pull, args=(link, job, host.real.folder / "slow", done), daemon=True)
        before = host.real.proxy.bytes_down
        puller.start()
        wait_until(lambda: host.real.proxy.bytes_down - before > NARROW, 30, "the pull is under way")
        for _ in range(ASKED):
            began = time.monotonic()
            link.status()
            seconds.append((time.monotonic() - began) * 1000)
            time.sleep(0.1)
        assert not done.is_set(), "the pull was over before the questions were"
        orch.links.close()
        puller.join(30)
    return Row("status while a pull runs at 1 MB/s, 50 ms round trip", seconds, "ms", most=MOST_ASKED_MS,
               note="on the same connection; the host's look at itself is in the figure")  # fmt: skip


def _pull(link: AgentLink, job: JobView, target: Path, done: threading.Event) -> None:
    try:
        pull_job(link, job, target)
    except OrchError:
        return  # the line is closed under it at the end
    done.set()
