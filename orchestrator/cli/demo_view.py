"""`orch demo`: the shipped jobs.yaml through the whole path, on a real sshd started here for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cli import submit_view
from orchestrator.cli.console import say
from orchestrator.demo_files import write_demo_project
from orchestrator.demo_host import DemoHost
from orchestrator.errors import EXIT_OK
from orchestrator.paths import orch_home

NEXT = """
That was the whole path: sync, setup, launch, live log, results. For a machine of yours:
  orch host add box "ssh -p 38076 root@connect.example.com"
  orch init
  orch submit jobs.yaml"""


def demo(host: str | None, folder: Path | None) -> int:
    """Do `orch demo`: returns the exit code of the submit."""
    file = _project(folder)
    if host:
        return submit_view.submit(submit_view.Wish(file=file, hosts=(host,), again=True))
    with _own_home() as home, DemoHost(home) as running:
        say(f"started a real sshd on 127.0.0.1:{running.port} with a bare PATH and a HOME of its own", "bold")
        code = submit_view.submit(submit_view.Wish(file=file, hosts=(running.name,), again=True))
        running.wait_until_quiet()
    if code == EXIT_OK:
        sys.stderr.write(NEXT + "\n")
    return code


def _project(folder: Path | None) -> Path:
    here = Path("jobs.yaml")
    if folder is None and here.exists() and Path("remote_payload/train/train.py").exists():
        return here
    return write_demo_project(folder or Path("orch-demo"))


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
