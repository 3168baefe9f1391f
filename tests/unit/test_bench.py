"""The bench's own words: verdicts, budgets, and a peer that is missing. No figure is asserted here."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import MEASURES, main, table
from bench.commands import CommandFailed, peak_mb, run
from bench.measures import sync
from bench.page import merged, text
from bench.rows import FIGURE, MET, MISSED, NO_PEER, Row, spread
from bench.sizes import QUICK

VERDICTS = {
    "below the peer's multiple": (Row("x", [1.0, 9.0, 2.0], peer_runs=[4.0], most_ratio=0.6), MET),
    "above it": (Row("x", [1.0, 9.0, 3.0], peer_runs=[4.0], most_ratio=0.6), MISSED),
    "the median counts, not the best": (Row("x", [1.0, 5.0, 5.0], most=3.0), MISSED),
    "the slowest counts where each must": (Row("x", [1.0, 1.0, 5.0], most=3.0, every=True), MISSED),
    "no figure is no success": (Row("x", [], most=3.0), MISSED),
    "a ratio to nothing is no success": (Row("x", [1.0], most_ratio=1.0), MISSED),
    "a missing peer is told": (Row("x", [1.0], peer="rsync", most_ratio=1.0, missing=True), NO_PEER),
    "without a budget": (Row("x", [1.0], peer_runs=[2.0]), FIGURE),
    "both budgets count": (Row("x", [2.0], peer_runs=[2.0], most_ratio=1.0, most=1.0), MISSED),
}


@pytest.mark.parametrize(("row", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_verdict(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def test_a_row_keeps_every_run() -> None:
    row = Row("x", [3.0, 1.0, 2.0], peer="p", peer_runs=[4.0], most_ratio=0.6, note="how")
    said = json.loads(json.dumps(row.as_json()))
    assert (said["runs"], said["median"], said["ratio"], said["budget"]) == ([3.0, 1.0, 2.0], 2.0, 0.5, "<= 0.6 x")
    assert spread(row.runs, "s") == "2 s (1 to 3, n=3)"
    assert table([row]).row_count == 1


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_there(name: str) -> None:
    assert callable(importlib.import_module(f"bench.measures.{name}").measure)


def test_every_measure_is_in_the_list() -> None:
    files = Path(importlib.import_module("bench.measures").__path__[0]).glob("[a-z]*.py")
    assert {file.stem for file in files} == set(MEASURES)


def test_a_peer_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (row,) = sync.measure(QUICK)
    assert (row.verdict, row.note) == (NO_PEER, "rsync is not installed")


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["nothing"])
    assert refused.value.code == 2
    assert "no measure is called 'nothing'" in capsys.readouterr().err


def test_a_command_that_fails_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="exit 3\nwords"):
        run(["sh", "-c", "echo words >&2; exit 3"], {"PATH": "/usr/bin:/bin"}, tmp=tmp_path)
    assert run(["sh", "-c", "echo out"], {"PATH": "/usr/bin:/bin"}, tmp=tmp_path).out == b"out\n"
    with pytest.raises(CommandFailed):
        peak_mb(["sh", "-c", "exit 3"], {"PATH": "/usr/bin:/bin"}, tmp_path)


def test_a_page_tells_losses_and_what_was_run_again() -> None:
    def run_of(load: float, **rows: Row) -> dict[str, Any]:
        machine = {"cores": 2, "memory_gb": 8, "system": "Debian", "kernel": "6", "python": "3", "load": load}
        said = [{"measure": name, **row.as_json()} for name, row in rows.items()]
        return {"at": "2026-01-01", "quick": False, "machine": machine, "rows": said}

    first = run_of(0.5, one=Row("first", [3.0], most=2.0), two=Row("second", [9.0], most=10.0, note="so"))
    page = text(merged(first, run_of(1.5, two=Row("second", [11.0], most=10.0))))
    assert "| first | 3 s |  |  | <= 2 s | **NOT MET** |" in page
    assert "| second | 11 s |  |  | <= 10 s | **NOT MET** |" in page
    assert "9 s" not in page
    assert "Run again later on the same machine: two (load before it 1.5)." in page
