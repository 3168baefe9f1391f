"""docs/states.md holds every state and reason of the code, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from remote_payload.agent.spool.states import END_REASONS, FINAL_STATES, LIVE_STATES, WAITING_REASONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "states.md"


def rows(heading: str) -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8")
    part = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_states() -> None:
    assert {row[0].strip("`") for row in rows("States")} == LIVE_STATES | FINAL_STATES


def test_end_reasons() -> None:
    told = {row[0].strip("`"): (row[1].strip("`"), row[2], row[3], row[4]) for row in rows("End reasons")}
    assert told == {
        name: (reason.state, "yes" if reason.retryable else "no", reason.en, reason.zh)
        for name, reason in END_REASONS.items()
    }


def test_waiting_reasons() -> None:
    told = {row[0].strip("`"): (row[1], row[2]) for row in rows("Waiting reasons")}
    assert told == {name: (texts["en"], texts["zh"]) for name, texts in WAITING_REASONS.items()}


def test_words_stand_once() -> None:
    names = re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(names) == len(set(names))
