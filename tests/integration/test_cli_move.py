"""Moving jobs that wait: to another host, to another place in the queue; whatever dies in between, they run once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import Orch
from orchestrator.api import move as moving
from orchestrator.store import Store
from remote_payload.agent.machine.cgroup import cpu_quota
from tests.harness.cli import Laptop
from tests.harness.ssh_laptop import SshLaptop
from tests.harness.waiting import wait_until

SLOTS = max(1, int(cpu_quota()))
FILL = f"""
jobs:
  fill:
    run: 'until [ -e ~/go ]; do sleep 0.05; done'
    matrix: {{n: {list(range(SLOTS))}}}
"""
JOBS = """
jobs:
  train:
    run: 'cat data.txt; echo $MY_TOKEN | tr a-z A-Z; echo $ORCH_JOB_ID > $ORCH_OUTPUT_DIR/id'
    secrets: [MY_TOKEN]
"""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[SshLaptop]:
    """A laptop with the host `here` (this machine) and the host `box` (over SSH)."""
    with SshLaptop(tmp_path) as made:
        made.laptop.env["MY_TOKEN"] = "abc"
        made.laptop.orch("host", "add", "here", "local")
        made.laptop.write("data.txt", "as submitted\n")
        made.laptop.jobs_yaml(JOBS)
        yield made
        (made.laptop.home / "go").touch()


def fill(laptop: Laptop, host: str) -> None:
    """Take every CPU slot of a host."""
    laptop.write("fill.yaml", FILL)
    told = laptop.json("submit", "fill.yaml", "-d", "--again", "--host", host)
    for job in told["jobs"]:
        wait_until(lambda job=job: shown(laptop, job["id"])["state"] == "RUNNING", 60)  # type: ignore[misc]


def waiting_job(laptop: Laptop) -> str:
    """Fill `here` and queue `train` there; return its id."""
    fill(laptop, "here")
    (job,) = laptop.json("submit", "-d", "--host", "here")["jobs"]
    wait_until(lambda: shown(laptop, job["id"])["waiting_for"] == "no_cpu", 60)
    return str(job["id"])


def shown(laptop: Laptop, job: str) -> dict[str, object]:
    (one,) = [each for each in laptop.json("status", code=None)["jobs"] if each["id"] == job]
    return dict(one)


def test_a_waiting_job_runs_on_the_other_host_with_the_code_it_was_made_of(two: SshLaptop) -> None:
    laptop = two.laptop
    job = waiting_job(laptop)
    laptop.write("data.txt", "changed since\n")
    laptop.orch("move", "train", "--host", "box")
    laptop.orch("wait", job)
    moved = shown(laptop, job)
    assert (moved["host"], moved["state"]) == ("box", "SUCCEEDED")
    assert laptop.orch("logs", job).stdout == "as submitted\nABC\n"
    laptop.orch("pull", job)
    assert (laptop.folder / "results" / str(moved["submission"]) / "train" / "id").read_text().strip() == job
    refused = laptop.orch("move", job, "--host", "here", code=4)
    assert "SUCCEEDED" in refused.stderr


def test_there_and_back_again(two: SshLaptop) -> None:
    laptop = two.laptop
    job = waiting_job(laptop)
    fill(laptop, "box")
    laptop.orch("move", job, "--host", "box")
    wait_until(lambda: shown(laptop, job)["waiting_for"] == "no_cpu" and shown(laptop, job)["host"] == "box", 60)
    laptop.orch("move", job, "--host", "here")
    assert shown(laptop, job)["host"] == "here"
    (laptop.home / "go").touch()
    laptop.orch("wait", job)
    assert laptop.orch("logs", job).stdout == "as submitted\nABC\n"
    assert shown(laptop, job)["host"] == "here"


def test_a_running_job_stays(two: SshLaptop) -> None:
    waiting_job(two.laptop)
    refused = two.laptop.orch("move", "fill", "--host", "box", "-y", code=4)
    assert refused.stderr.count("stays on here: it is RUNNING") == SLOTS


def test_nothing_is_withdrawn_before_the_other_host_answers(two: SshLaptop) -> None:
    job = waiting_job(two.laptop)
    two.host.stop()
    two.laptop.orch("move", job, "--host", "box", code=3)
    assert shown(two.laptop, job)["host"] == "here"
    two.host.start()


@pytest.mark.parametrize("died", ["_finish", "_send"])
def test_a_move_that_was_cut_off_is_finished(two: SshLaptop, died: str, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = two.laptop
    job = waiting_job(laptop)

    monkeypatch.setenv("HOME", str(laptop.home))

    def die(*args: Any) -> None:
        raise RuntimeError("the laptop died")

    # Before the withdrawal, or between it and the sending.
    with monkeypatch.context() as patch:
        patch.setattr(moving, died, die)
        with Orch(laptop.folder, home=laptop.home / "orch") as orch, pytest.raises(RuntimeError):
            moving.move(orch, orch.find([job]), "box", lambda names: {})
    dead = subprocess.Popen(["true"])
    dead.wait()
    with Store(laptop.home / "orch" / "orch.db") as store, store.write() as db:
        db.execute("UPDATE submissions SET pid = ?", (dead.pid,))
    assert "is a move" in laptop.orch("submit", "--drop", code=4).stderr
    laptop.orch("submit", "--resume")
    assert "no submit was interrupted" in laptop.orch("submit", "--resume").stderr
    laptop.orch("wait", job)
    assert shown(laptop, job)["host"] == "box"
    assert laptop.orch("logs", job).stdout == "as submitted\nABC\n"


def test_another_place_in_the_queue(two: SshLaptop) -> None:
    laptop = two.laptop
    waiting_job(laptop)
    laptop.jobs_yaml(
        "jobs: {late: {run: 'ls ~/done 2>/dev/null || true; touch ~/done'}, idle: {run: 'touch ~/done'}}\n"
    )
    told = laptop.json("submit", "-d", "--host", "here")
    laptop.orch("move", "late", "--priority", "50")
    assert "no job is called" in laptop.orch("move", "nothing", "--priority", "5", code=2).stderr
    assert laptop.orch("move", "late", "--priority", "500", code=2)
    (laptop.home / "go").touch()
    laptop.orch("wait", told["submission"])
    assert laptop.orch("logs", "late").stdout == ""


def test_balance_takes_what_may_run_elsewhere(two: SshLaptop) -> None:
    laptop = two.laptop
    two.host.stop()
    fill(laptop, "here")
    laptop.jobs_yaml("jobs: {bound: {run: echo ran, hosts: here}, free: {run: echo ran, matrix: {n: [1, 2]}}}\n")
    laptop.orch("submit", "-d")
    two.host.start()
    laptop.orch("move", "--balance", "-y")
    where = {job["name"]: job["host"] for job in laptop.json("status")["jobs"] if not job["name"].startswith("fill")}
    assert where["bound"] == "here"
    assert "box" in (where["free.1"], where["free.2"])
