"""What a measure found: every single run, the peer's runs beside it, the budget, and what follows from them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MET, MISSED, NO_PEER, FIGURE = "met", "NOT MET", "PEER MISSING", "–"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: what was done.
        runs: every run, in `unit`; none is left out and none is picked.
        unit: s, ms, MB, %, or a count's name.
        peer: what did the same beside it; "" = nothing does.
        peer_runs: every run of the peer, in the same unit.
        most_ratio: the budget, as a multiple of the peer's median; None = no such budget.
        most: the budget in `unit`; None = no such budget.
        note: how it was done, or why there is no figure.
        missing: the peer is not installed here.
        every: the budget `most` is one for the slowest run, not for the median.
    """

    what: str
    runs: Sequence[float]
    unit: str = "s"
    peer: str = ""
    peer_runs: Sequence[float] = field(default_factory=list)
    most_ratio: float | None = None
    most: float | None = None
    note: str = ""
    missing: bool = False
    every: bool = False

    @property
    def median(self) -> float | None:
        """The middle run."""
        return statistics.median(self.runs) if self.runs else None

    @property
    def peer_median(self) -> float | None:
        """The peer's middle run."""
        return statistics.median(self.peer_runs) if self.peer_runs else None

    @property
    def ratio(self) -> float | None:
        """How many times the peer's median this is."""
        return self.median / self.peer_median if self.median is not None and self.peer_median else None

    @property
    def verdict(self) -> str:
        """Whether the budget is kept."""
        if self.missing:
            return NO_PEER
        if self.most_ratio is None and self.most is None:
            return FIGURE
        if self.median is None:
            return MISSED
        if self.most_ratio is not None and (self.ratio is None or self.ratio > self.most_ratio):
            return MISSED
        counted = max(self.runs) if self.every else self.median
        return MISSED if self.most is not None and counted > self.most else MET

    @property
    def budget(self) -> str:
        """The budget in words."""
        parts = []
        if self.most_ratio is not None:
            parts.append(f"<= {self.most_ratio:g} x")
        if self.most is not None:
            parts.append(f"<= {told(self.most, self.unit)}{' each' if self.every else ''}")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {
            "what": self.what, "unit": self.unit, "runs": list(self.runs), "median": self.median, "peer": self.peer,
            "peer_runs": list(self.peer_runs), "peer_median": self.peer_median, "ratio": self.ratio,
            "budget": self.budget, "verdict": self.verdict, "note": self.note,
        }  # fmt: skip


def told(value: float | None, unit: str) -> str:
    """Return a figure with as many digits as it deserves."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 1 if abs(value) >= 10 else 2
    if 0 < abs(value) < 0.1:
        digits = 4
    return f"{value:.{digits}f} {unit}".strip()


def spread(runs: Sequence[float], unit: str) -> str:
    """Return the median with the smallest and the largest run."""
    if not runs:
        return "–"
    middle = told(statistics.median(runs), unit)
    if len(runs) == 1:
        return middle
    return f"{middle} ({told(min(runs), '')} to {told(max(runs), '')}, n={len(runs)})"
