"""What is worth telling of a running job reaches people: in the live view, status, show and their JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path

from orchestrator.loopback import BARE_PATH
from remote_payload.agent.machine.gpu import read_gpus
from remote_payload.agent.spool import gpu_use
from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until
from tests.integration.stand_in_gpu import StandInGpus

SAID = "holds GPU 0 and does not use it: is torch.cuda.is_available() true? are model and batches .to(device)?"


def test_a_gpu_that_is_held_and_not_used(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    laptop = Laptop(tmp_path / "home", tmp_path / "project", env={"PATH": f"{tools}:{BARE_PATH}"})
    laptop.jobs_yaml("jobs: {train: {run: 'until [ -e ~/go ]; do sleep 0.05; done'}}\n")
    with StandInGpus(tools):
        laptop.orch("host", "add", "here", "local")
        job = laptop.json("submit", "-d")["jobs"][0]["id"]
        (place,) = wait_until(
            lambda: list(laptop.home.glob(f".orch/hosts/*/spool/jobs/{job}/attempts/1/lease.json")), 60
        )
        wait_until(lambda: laptop.json("show", job)["state"] == "RUNNING", 60)
        assert laptop.json("show", job)["hints"] == []
        for ago in (130, 60, 1):
            gpu_use.append(str(place.with_name("gpu.jsonl")), read_gpus(path=str(tools))["gpus"], time.time() - ago)
        assert laptop.json("show", job)["hints"] == [SAID]
        assert laptop.json("status")["jobs"][0]["hints"] == [SAID]
        for verb in (["status"], ["show", job]):
            assert SAID in " ".join(laptop.orch(*verb).stdout.split())
        watching = laptop.start("--json", "attach", job)
        assert watching.stdout is not None
        wait_until(lambda: watching.stdout and json.loads(watching.stdout.readline()).get("message") == SAID, 30)
        (laptop.home / "go").touch()
        rest, _ = watching.communicate(timeout=60)
        assert SAID not in rest, "once"
        assert laptop.json("show", job)["hints"] == []
