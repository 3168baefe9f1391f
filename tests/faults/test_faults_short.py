"""The fault suite's short form: every crash point once, and a few random rounds. `make faults` does many."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from remote_payload.agent.crash import POINTS
from tests.faults.points import Life
from tests.faults.rounds import SHORT, Round

LIVES = 4
AT_ONCE = 4
SEEDS = (3, 5)


def test_a_process_dies_at_every_crash_point_and_nothing_is_lost(tmp_path: Path, agents: Path, code: Path) -> None:
    python = shutil.which("python3") or "python3"
    names = sorted(POINTS)

    def live(number: int) -> list[str]:
        points = names[number::LIVES]
        return Life(tmp_path / f"life-{number}", agents, code, python, points).live()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(enumerate(pool.map(live, range(LIVES))))
    assert not {names[number::LIVES][0]: each for number, each in found.items() if each}, found


def test_random_rounds(tmp_path: Path, agents: Path) -> None:
    def live(seed: int) -> list[str]:
        return Round(tmp_path / f"round-{seed}", seed, SHORT, agents).run().violations

    with ThreadPoolExecutor(len(SEEDS)) as pool:
        found = dict(zip(SEEDS, pool.map(live, SEEDS), strict=True))
    assert not {seed: each for seed, each in found.items() if each}, "python -m tests.faults.run --short --seed SEED"
