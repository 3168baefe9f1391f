"""Which jobs `orch status` draws: lines are counted, not jobs."""

from __future__ import annotations

from orchestrator.api.find import Located
from orchestrator.cli.status_view import _first_lines
from tests.unit.api.test_find import job


def cells(submission: str, count: int) -> list[Located]:
    return [job(f"j-{submission}{n}", f"train.{n}", f"s-{submission}", 1) for n in range(count)]


def test_a_large_submission_is_one_line_however_many_it_has() -> None:
    large, small = cells("large", 1000), cells("small", 3)
    assert len(_first_lines([*large, *small], 4)) == 1003
    assert _first_lines([*small, *large], 3) == small
    assert _first_lines(small, 2) == small[:2]
    assert _first_lines([], 5) == []
