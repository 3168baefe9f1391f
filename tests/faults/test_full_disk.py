"""A disk full to the last block loses nothing that was acknowledged, and acknowledges nothing it cannot hold."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import AgentError
from tests.faults.batch import Batch
from tests.faults.controller import Controller, Told
from tests.faults.host import FaultyHost
from tests.faults.jobs import Planned, Witness
from tests.faults.settle import look, settle
from tests.faults.smalldisk import SmallDisk
from tests.faults.spoolfiles import load
from tests.harness.waiting import wait_until

SIZE = 80 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", SIZE) as made:
        yield made


@pytest.fixture
def host(tmp_path: Path, agents: Path, disk: SmallDisk) -> Iterator[FaultyHost]:
    made = FaultyHost(tmp_path / "h1", agents, root=disk.folder / "spool", disk=disk)
    yield made
    made.close()


def test_the_disk_fills_while_a_job_runs(tmp_path: Path, code: Path, disk: SmallDisk, host: FaultyHost) -> None:
    told, witness = Told(), Witness(tmp_path / "witness")
    me = Controller([host], told)
    python = shutil.which("python3") or ""

    def batch(*planned: Planned) -> Batch:
        return Batch(code, planned, witness, host.name, python, random.Random(1))

    wait = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    kept = {"retry": {"max": 9, "on": ["host", "exit"], "backoff": 0.05}}
    running, next_one = Planned("quick", wait, {"gpus": 1}), Planned("quick", "true", {"gpus": 2, **kept})
    first = batch(running, next_one)
    assert me.submit(host, first)
    attempt = host.root / "jobs" / first.ids[0] / "attempts" / "1"
    wait_until(lambda: (attempt / "start.json").exists(), 20, "it runs")
    disk.fill()
    second = batch(Planned("quick", "true"))
    with pytest.raises(AgentError) as refused, host.link() as link:
        second.send(link)
    assert refused.value.code == "disk_full"
    (tmp_path / "go").touch()
    # Its end's blocks were taken when it began.
    end = wait_until(lambda: load(attempt / "end.json", []), 20, "its end")
    assert (end["reason"], end["exit_code"]) == ("exit_zero", 0)
    disk.free()
    assert me.submit(host, second)
    assert settle([host], [me]) == []
    assert look([host], told, witness) == []
