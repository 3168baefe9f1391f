"""Samples of an attempt's GPUs, and whether they say that one is not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remote_payload.agent.spool import gpu_use
from remote_payload.agent.spool.states import HINTS, hint_sentence
from tests.unit.agent.run.test_scheduler import gpu

NOW = 10_000.0


def samples(*values: tuple[float, Any, Any], index: int = 0) -> list[dict[str, Any]]:
    return [{"at": NOW - ago, "index": index, "mem": mem, "util": util} for ago, mem, util in values]


def test_two_quiet_minutes_mean_unused() -> None:
    quiet = [(150, 5, 0), (125, 5, 0), (60, 290, 4), (5, 5, 0)]
    assert gpu_use.unused(samples(*quiet), NOW) == 0
    assert gpu_use.unused(samples(*quiet[2:]), NOW) is None, "not yet two minutes"
    assert gpu_use.unused(samples((125, 5, 0)), NOW) is None, "one look is no proof"
    assert gpu_use.unused([], NOW) is None


def test_memory_or_work_within_two_minutes_is_use() -> None:
    assert gpu_use.unused(samples((125, 5, 0), (60, 300, 0), (5, 5, 0)), NOW) is None
    assert gpu_use.unused(samples((125, 5, 0), (60, 5, 5), (5, 5, 0)), NOW) is None
    assert gpu_use.unused(samples((500, 9000, 90), (125, 5, 0), (60, 5, 0), (5, 5, 0)), NOW) == 0, "long ago"


def test_what_is_not_known_is_not_held_against_anybody() -> None:
    assert gpu_use.unused(samples((125, None, None), (60, None, None)), NOW) is None


def test_one_of_two_gpus() -> None:
    busy = samples((125, 9000, 90), (5, 9000, 90))
    assert gpu_use.unused([*busy, *samples((125, 1, 0), (5, 1, 0), index=1)], NOW) == 1


def test_samples_are_read_back_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gpu.jsonl"
    gpu_use.append(str(path), [gpu(0, used=7, busy=3), gpu(1)], 5.0)
    with path.open("a") as file:
        file.write('[1]\n{"at": "x"}\n{"at": 6.0, "ind')
    read = gpu_use.read_tail(str(path))
    assert [(each["index"], each["mem"], each["util"]) for each in read] == [(0, 7, 3), (1, 1, 0)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert gpu_use.read_tail(str(tmp_path / "none")) == []


def test_the_sentence() -> None:
    assert hint_sentence("gpu_unused", {"index": "3"}).startswith("holds GPU 3 and does not use it")
    assert hint_sentence("newer", {}) == "newer"
    assert all(set(texts) == {"en", "zh"} for texts in HINTS.values())
