"""`orch demo`: the shipped jobs.yaml through the whole path, on a real sshd started here for it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from orchestrator.api import Orch
from orchestrator.cli import submit_view
from orchestrator.cli.console import say
from orchestrator.demo_files import write_demo_project
from orchestrator.demo_host import DemoHost
from orchestrator.errors import EXIT_OK
from orchestrator.hosts.inventory import Inventory
from orchestrator.paths import orch_home

ADD = '{orch} host add box "ssh -p 38076 root@connect.example.com"'
NEXT = """
That was the whole path: sync, setup, launch, live log, results. For a machine of yours:
  {add}
  {orch} demo --host box        this example on it
Then, in the folder with your code:
  {orch} init
  {orch} submit jobs.yaml"""


def demo(host: str | None, folder: Path | None) -> int:
    """Do `orch demo`: returns the exit code of the submit.

    Raises:
        UsageError: no host of that name is in the inventory.
        HostError: no server can be started here.
    """
    if host:
        Inventory(orch_home()).get(host)
        code = submit_view.submit(submit_view.Wish(file=_project(folder), hosts=(host,), again=True))
    else:
        code = _on_own_host(folder)
    if code == EXIT_OK:
        orch = _as_typed()
        for line in NEXT.format(add=ADD.format(orch=orch), orch=orch).splitlines():
            say(line)
    return code


def _on_own_host(folder: Path | None) -> int:
    with _own_home() as home, _ended_by_signals(), DemoHost(home) as running:
        say(f"started a real sshd on 127.0.0.1:{running.port} with a bare PATH and a HOME of its own", "bold")
        if running.is_new:
            say("the first time, the job's setup installs PyTorch there: a minute or two, and what pip downloads")
        try:
            wish = submit_view.Wish(file=_project(folder), hosts=(running.name,), again=True, passing=True)
            return submit_view.submit(wish)
        finally:
            # Nobody could come back to a job here once the server is gone.
            _cancel_all(home, running.name)
            running.wait_until_quiet()
            say(f"the sshd is gone again; its host's files stay in {running.spool_home}", "dim")


def _project(folder: Path | None) -> Path:
    here = Path("jobs.yaml")
    if folder is None and here.exists() and Path("remote_payload/train/train.py").exists():
        return here
    return write_demo_project(folder or Path("orch-demo"))


def _cancel_all(home: Path, host: str) -> None:
    with Orch(home=home) as orch:
        live = [job.view["id"] for job in orch.jobs([host])[0] if job.live]
        if live:
            orch.link(host).cancel(live, by="demo")


def _as_typed() -> str:
    """Return how this program is called from any folder: in a clone no PATH leads to .venv/bin/orch."""
    program = Path(sys.argv[0])
    return "orch" if program.name != "orch" or shutil.which("orch") else shlex.quote(str(program.absolute()))


@contextmanager
def _own_home() -> Iterator[Path]:
    """Give the demo laptop state of its own, so that the inventory never shows a host that is gone."""
    home = orch_home() / "demo"
    before = os.environ.get("ORCH_HOME")
    os.environ["ORCH_HOME"] = str(home)
    try:
        yield home
    finally:
        if before is None:
            del os.environ["ORCH_HOME"]
        else:
            os.environ["ORCH_HOME"] = before


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a closed terminal or a TERM end the demo as Ctrl-C does, so that its server ends with it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What is ignored stays ignored: nohup means it.
    before = {n: signal.signal(n, interrupt) for n in wanted if signal.getsignal(n) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
