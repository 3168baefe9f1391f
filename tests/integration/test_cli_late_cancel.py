"""A cancel while the host cannot be reached: kept on the laptop, shown, delivered by the next command there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.ssh_laptop import SshLaptop
from tests.harness.waiting import wait_until

KEPT = "cancel waiting for the host"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SshLaptop]:
    with SshLaptop(tmp_path) as made:
        made.laptop.jobs_yaml("jobs: {train: {run: 'until [ -e ~/go ]; do sleep 0.05; done'}}\n")
        yield made


def state(box: SshLaptop) -> str:
    return str(box.laptop.json("show", "train")["state"])


def test_kept_shown_and_delivered_by_the_next_command(box: SshLaptop) -> None:
    laptop = box.laptop
    job = laptop.json("submit", "-d")["jobs"][0]["id"]
    box.proxy.refusing = True
    # Known although nothing but submit has reached the host since.
    said = laptop.orch("cancel", "train").stderr
    assert "box does not answer: the cancel of train is kept here" in " ".join(said.split())
    (row,) = laptop.json("cancel", job)
    assert (row["id"], row["host"], row["kept"]) == (job, "box", True)
    assert laptop.json("show", job)["cancel_kept"] is True
    assert KEPT in laptop.orch("show", job).stdout
    assert KEPT in " ".join(laptop.orch("status", code=3).stdout.split())
    box.proxy.refusing = False
    assert job in laptop.orch("exec", "box", "--", "true").stderr, "any command delivers it, and says so"
    wait_until(lambda: state(box) == "CANCELLED", 30)
    shown = laptop.json("show", job)
    assert (shown["reason"], shown["cancel_kept"]) == ("cancelled_by_user", False)
    assert "was told" not in laptop.orch("status").stderr, "once"


def test_a_job_that_ended_meanwhile_stays_as_it_is(box: SshLaptop) -> None:
    laptop = box.laptop
    laptop.orch("submit", "-d")
    wait_until(lambda: state(box) == "RUNNING", 60)
    box.proxy.refusing = True
    laptop.orch("cancel", "--all")
    box.go()
    wait_until(lambda: list(box.host_home.glob(".orch/hosts/*/spool/jobs/*/attempts/1/end.json")), 30)
    box.proxy.refusing = False
    laptop.orch("wait", "train")
    assert state(box) == "SUCCEEDED"
    assert laptop.json("show", "train")["cancel_kept"] is False


def test_a_job_that_the_host_does_not_know_is_waited_for_no_more(box: SshLaptop) -> None:
    laptop = box.laptop
    laptop.orch("submit", "-d")
    box.proxy.refusing = True
    laptop.orch("cancel", "train")
    for path in box.host_home.glob(".orch/hosts/*/spool/submits/*.json"):
        path.unlink()
    box.proxy.refusing = False
    assert "was told" not in laptop.orch("status").stderr
    box.proxy.refusing = True
    assert KEPT not in laptop.orch("status", code=3).stdout
    box.proxy.refusing = False
