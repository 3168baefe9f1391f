"""summary.csv: one row for each job of a submission, built anew from the job.json files beside it."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from orchestrator.fetch.folder import JOB_FILE, read_view, replace_text

SUMMARY = "summary.csv"
_BEFORE = ("name", "id", "host", "state", "reason", "exit_code", "attempt")
_AFTER = ("started", "ended", "seconds")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LOCK = threading.Lock()
"""Two jobs of a submission may be pulled at once; the later one must see the earlier one's file."""


def write_summary(folder: Path) -> Path:
    """Write a submission's summary from what was pulled of it so far.

    Args:
        folder: the submission's folder in the results.

    Returns:
        The file.
    """
    with _LOCK:
        views = [view for path in folder.iterdir() if path.is_dir() and (view := read_view(path / JOB_FILE))]
        views.sort(key=lambda view: _natural(str(view.get("name", ""))))
        replace_text(folder / SUMMARY, _table(views))
    return folder / SUMMARY


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort train.2 before train.10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _table(views: list[dict[str, Any]]) -> str:
    params: dict[str, str] = {}
    for view in views:
        for key in _params(view):
            params.setdefault(key, f"params.{key}" if key in _BEFORE + _AFTER else key)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_BEFORE, *map(_cell, params.values()), *_AFTER])
    for view in views:
        given = _params(view)
        row = [view.get(key) for key in _BEFORE] + [given.get(key) for key in params] + _times(view)
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _params(view: Mapping[str, Any]) -> dict[str, Any]:
    params = view.get("params")
    return params if isinstance(params, dict) else {}


def _times(view: Mapping[str, Any]) -> list[Any]:
    started, ended = view.get("started_at"), view.get("ended_at")
    both = isinstance(started, (int, float)) and isinstance(ended, (int, float))
    return [_moment(started), _moment(ended), f"{ended - started:.1f}" if both else None]  # type: ignore[operator]


def _moment(at: Any) -> str | None:
    try:
        return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _cell(value: Any) -> str:
    """Return a value as text that a spreadsheet does not take for a formula."""
    text = "" if value is None else str(value).encode("utf-8", "replace").decode("utf-8")
    text = "".join(char if char.isprintable() else " " for char in text)
    return "'" + text if text[:1] in ("=", "+", "-", "@") and not _NUMBER.fullmatch(text) else text
