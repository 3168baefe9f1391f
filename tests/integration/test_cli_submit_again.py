"""Submitting again: only what failed or is missing, in place of a live job, ahead of others; and only preparing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until

CELLS = """
jobs:
  train:
    run: test ${{ matrix.n }} != 2 || test -e ok.txt
    matrix: {n: [1, 2, 3]}
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    made.orch("host", "add", "here", "local")
    return made


def cells(laptop: Laptop, *words: str) -> list[str]:
    """The jobs that a dry run would submit."""
    said = laptop.orch("--json", "submit", "--dry-run", *words).stdout
    return [job["params"]["n"] for line in said.splitlines() for job in json.loads(line)["jobs"]]


def test_only_what_failed_and_only_what_is_missing(laptop: Laptop) -> None:
    laptop.jobs_yaml(CELLS)
    assert cells(laptop, "--only", "missing") == ["1", "2", "3"]
    assert "none is failed" in laptop.orch("submit", "--only", "failed").stderr
    laptop.orch("submit", code=1)
    assert cells(laptop, "--only", "failed") == ["2"]
    # The cell is the same one although its number is another now.
    laptop.jobs_yaml(CELLS.replace("[1, 2, 3]", "[2, 3, 4]"))
    assert cells(laptop, "--only", "failed") == ["2"]
    assert cells(laptop, "--only", "missing") == ["4"]
    laptop.write("ok.txt", "today's code")
    laptop.orch("submit", "--only", "failed")
    assert "none is failed" in laptop.orch("submit", "--only", "failed").stderr
    assert "not 'odd'" in laptop.orch("submit", "--only", "odd", code=2).stderr


def test_results_that_can_be_pulled_are_not_computed_again(laptop: Laptop) -> None:
    laptop.jobs_yaml(CELLS.replace("[1, 2, 3]", "[1, 3]"))
    laptop.orch("submit", "--no-pull")
    said = laptop.orch("submit", "--only", "missing").stderr
    assert "none is missing" in said and "train.2 succeeded and is still on here: orch pull j-" in said
    shutil.rmtree(laptop.home / ".orch" / "hosts")
    laptop.orch("host", "rm", "here", "-y")
    laptop.orch("host", "add", "there", "local")
    assert cells(laptop, "--only", "missing") == ["1", "3"]


def test_a_live_job_is_replaced(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: 'until [ -e ~/go ]; do sleep 0.05; done'}}\n")
    (old,) = laptop.json("submit", "-d")["jobs"]
    wait_until(lambda: laptop.json("show", old["id"])["state"] == "RUNNING", 60)
    assert "--replace" in laptop.orch("submit", "-d", code=4).stderr
    assert "which one" in laptop.orch("submit", "-d", "--replace", "--again", code=2).stderr
    (new,) = laptop.json("submit", "-d", "--replace")["jobs"]
    laptop.orch("wait", old["id"], code=1)
    assert laptop.json("show", old["id"])["state"] == "CANCELLED"
    (laptop.home / "go").touch()
    laptop.orch("wait", new["id"])
    assert laptop.json("show", new["id"])["state"] == "SUCCEEDED"


def test_priority_goes_first(laptop: Laptop) -> None:
    laptop.orch("host", "pause", "here")
    run = "echo $ORCH_JOB_NAME >> ~/order"
    laptop.jobs_yaml(f"jobs:\n  first: {{run: {run}}}\n  second: {{run: {run}}}\n")
    laptop.orch("submit", "-d", "-j", "first", "--priority", "-3")
    sent = laptop.json("submit", "-d", "-j", "second", "--priority", "7")
    (place,) = (laptop.home / ".orch" / "hosts").glob(f"*/spool/submits/{sent['submission']}.json")
    assert '"priority":7' in place.read_text().replace(" ", "")
    assert "--priority" in laptop.orch("submit", "--priority", "101", code=2).stderr
    laptop.orch("host", "resume", "here")
    laptop.orch("wait", "first", "second")


def test_prepare_builds_and_starts_nothing(laptop: Laptop) -> None:
    setup = "echo fetching; echo made >> ~/made"
    laptop.jobs_yaml(f"jobs:\n  one: {{run: cat ~/made, setup: '{setup}'}}\n  two: {{run: 'true', setup: '{setup}'}}\n")
    done = laptop.orch("submit", "--prepare")
    assert "fetching" in done.stdout and "here: the environment of one, two is ready" in done.stderr
    assert laptop.json("status")["jobs"] == []
    laptop.orch("submit", "--prepare")
    assert "code was there already" in laptop.orch("submit", "-j", "one").stderr
    assert (laptop.home / "made").read_text() == "made\n", "built once"


def test_prepare_without_a_setup_sends_the_code(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: 'true'}}\n")
    said = laptop.json("submit", "--prepare")
    assert (said["hosts"], said["environments"], said["sent_files"]) == (["here"], [], 1)


def test_prepare_with_a_setup_that_fails(laptop: Laptop) -> None:
    laptop.jobs_yaml("jobs: {train: {run: 'true', setup: 'echo no such wheel >&2; test -e ~/wheel'}}\n")
    done = laptop.orch("submit", "--prepare", code=1)
    assert "no such wheel" in done.stdout
    assert "the setup of train failed: no such wheel" in done.stderr
    (laptop.home / "wheel").touch()
    laptop.orch("submit", "--prepare")
