"""`orch status` of many hosts, beside as many `ssh … nvidia-smi` at once; and one dead host among twenty."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.commands import Took, run
from bench.fleet import Fleet, fleet
from bench.rows import Row
from bench.sizes import Size
from orchestrator.api.core import Orch
from orchestrator.api.status import look
from orchestrator.remote.asker import SilentAsker

NAME = "many-hosts"
MOST = 0.6
DEADLINE = 15.0
QUERY = "nvidia-smi --query-gpu=index,uuid,name,memory.total,memory.used --format=csv,noheader,nounits"


def measure(size: Size) -> Iterator[Row]:
    """Yield the time of one look at all hosts, and what a dead one costs the others."""
    with fleet(size.hosts) as hosts:
        hosts.meet()
        ours, theirs, dialogue = [], [], 0.0
        for _ in range(size.runs):
            took = hosts.lead.orch("status")
            ours.append(took.seconds)
            dialogue = took.cpu
            if shutil.which("xargs"):
                theirs.append(_by_hand(hosts).seconds)
        yield Row(f"status of {size.hosts} hosts", ours, "s", "xargs -P, ssh nvidia-smi", theirs, most_ratio=MOST,
                  missing=not theirs, note=f"orch's own processor time in the last run: {dialogue:.2f} s")  # fmt: skip
    with fleet(min(20, size.hosts), last_far=True) as hosts:
        hosts.meet()
        yield from _one_dead(hosts, min(size.runs, 3))


def _by_hand(hosts: Fleet) -> Took:
    file = hosts.lead.real.folder / "names"
    file.write_text("\n".join(hosts.names) + "\n", encoding="ascii")
    line = (
        f"xargs -P {len(hosts.names)} -I NAME ssh -n -F {shlex.quote(str(hosts.ssh_config))} NAME {shlex.quote(QUERY)}"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(hosts.lead.laptop.home)}
    took = run(["sh", "-c", f"{line} <{shlex.quote(str(file))}"], env, tmp=hosts.lead.real.folder)
    assert took.out.count(b"RTX 4090") == 2 * len(hosts.names), took.out[-300:]
    return took


def _one_dead(hosts: Fleet, runs: int) -> Iterator[Row]:
    """Count, in one process, when each of the living answered; then the whole command with one silent."""
    count = len(hosts.names)
    without, beside, whole = [], [], []
    for _ in range(runs):
        hosts.places[-1].real.proxy.stalled = False
        without.append(_slowest_living(hosts))
        hosts.places[-1].real.proxy.stalled = True
        beside.append(_slowest_living(hosts))
        whole.append(hosts.lead.orch("status").seconds)
        hosts.places[-1].real.proxy.cut()
    yield Row(f"the last living answer, one of {count} hosts dead", beside, "s", "the same without a dead one", without,
              most_ratio=1.25, note="the budget is + 0 s; less than a quarter is this machine's noise")  # fmt: skip
    yield Row(f"orch status, one of {count} hosts dead", whole, "s", most=DEADLINE + 2,
              note=f"its deadline is {DEADLINE:.0f} s; the rest is for starting the command")  # fmt: skip


def _slowest_living(hosts: Fleet) -> float:
    home = Path(hosts.lead.laptop.home) / "orch"
    with Orch(hosts.lead.laptop.folder, asker=SilentAsker(), home=home) as orch:
        answers = orch.ask(lambda link: look(orch, link), hosts.names, DEADLINE)
        return max(answer.seconds for name, answer in answers.items() if name != hosts.names[-1])
