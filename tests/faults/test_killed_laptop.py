"""`orch submit` killed at random moments: what was interrupted is finished by the next command, and runs once."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from tests.faults.jobs import Witness
from tests.faults.reader import at_rest
from tests.faults.spoolfiles import is_held, read_spool
from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until

KILLS = 2
JOBS = """
defaults: {resources: {gpus: 0}}
jobs:
  train:
    run: |
__PRELUDE__
      tell done
    matrix: {n: [1, 2, 3]}
"""


def test_submit_killed_at_random_moments(tmp_path: Path) -> None:
    # `…/h1/home` tells the jobs which host they are on.
    laptop = Laptop(tmp_path / "h1" / "home", tmp_path / "project")
    witness = Witness(tmp_path / "witness")
    laptop.orch("host", "add", "here", "local")
    prelude = "".join(f"      {line}\n" for line in witness.prelude().strip().splitlines())
    laptop.jobs_yaml(JOBS.replace("__PRELUDE__\n", prelude))
    began = time.monotonic()
    first = json.loads(laptop.orch("--json", "submit", "-d").stdout.splitlines()[0])
    whole = time.monotonic() - began
    dice = random.Random(17)
    for number in range(KILLS):
        submit = laptop.start("submit", "-d")
        # Evenly over the time that a submit takes: before, while and after anything is stored.
        until = time.monotonic() + whole * (number + dice.random()) / KILLS
        wait_until(lambda until=until, submit=submit: time.monotonic() > until or submit.poll() is not None, 60)  # type: ignore[misc]
        submit.kill()  # it may be done
        submit.communicate()
        laptop.orch("submit", "--resume")
    assert "no submit was interrupted" in laptop.orch("submit", "--resume").stderr
    (root,) = (tmp_path / "h1" / "home" / ".orch" / "hosts").glob("*/spool")
    wait_until(lambda: all(job.over for job in read_spool(root).jobs.values()), 60, "all is over")
    wait_until(lambda: not is_held(root / "keeper" / "lock"), 20, "the keeper ends")
    ids = [job["id"] for job in first["jobs"]]
    known = [job["id"] for job in laptop.json("status")["jobs"]]
    assert set(ids) <= set(known)
    assert len(known) % 3 == 0 and set(known) == set(read_spool(root).jobs)
    assert at_rest({"h1": root}, known, witness) == []
