"""The fault suite's short form: every crash point once, and a few random rounds. `make faults` does many."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from remote_payload.agent.crash import POINTS
from tests.faults.points import Life

LIVES = 6
AT_ONCE = 3


def test_a_process_dies_at_every_crash_point_and_nothing_is_lost(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print('hello')\n")
    python = shutil.which("python3") or "python3"
    names = sorted(POINTS)

    def live(number: int) -> list[str]:
        points = names[number::LIVES]
        return Life(tmp_path / f"life-{number}", tmp_path / "agents", code, python, points).live()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(enumerate(pool.map(live, range(LIVES))))
    assert not {names[number::LIVES][0]: each for number, each in found.items() if each}, found
