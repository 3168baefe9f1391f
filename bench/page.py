"""`python -m bench.page FILE.json… docs/performance.md`: puts a run's figures into the page, between its marks.

Of several files the first is the whole run; the others hold measures that were run again, and the page says which.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.rows import MET, spread

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
HEAD = "| what | orch | peer | ratio | budget | verdict |\n|---|---|---|---|---|---|"


def main(argv: Sequence[str]) -> int:
    """Rewrite the page's figures; the words around them are a person's."""
    whole, *later = (json.loads(Path(name).read_text(encoding="utf-8")) for name in argv[:-1])
    page = Path(argv[-1])
    for run in later:
        whole = merged(whole, run)
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + text(whole) + END + rest.partition(END)[2], encoding="utf-8")
    return 0


def merged(whole: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run in which the measures of a later one stand in place of the first ones."""
    again = list(dict.fromkeys(row["measure"] for row in later["rows"]))
    rows: list[dict[str, Any]] = []
    for row in whole["rows"]:
        if row["measure"] not in again:
            rows.append(row)
        elif not any(each["measure"] == row["measure"] for each in rows):
            rows += [each for each in later["rows"] if each["measure"] == row["measure"]]
    said = f"{', '.join(again)} (load before it {later['machine']['load']})"
    return {**whole, "rows": rows, "again": [*whole.get("again", []), said]}


def text(whole: Mapping[str, Any]) -> str:
    """Return a run as Markdown. whole: what `--json` writes."""
    machine = whole["machine"]
    said = (
        f"Run of {whole['at']}{' (quick sizes)' if whole['quick'] else ''}: {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Linux {machine['kernel']}, Python {machine['python']}; "
        f"load before the run {machine['load']} (other work on the same cores).\n"
    )
    said += "".join(f"Run again later on the same machine: {each}.\n" for each in whole.get("again", [])) + "\n"
    lines = [_line(row) for row in whole["rows"] if "broken" not in row]
    broken = [f"\nBroken in this run: {row['measure']}.\n" for row in whole["rows"] if "broken" in row]
    notes = [f"- {row['what']}: {row['note']}" for row in whole["rows"] if row.get("note")]
    return said + "\n".join([HEAD, *lines]) + "\n" + "".join(broken) + "\n" + "\n".join(["How:", "", *notes]) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    peer = f"{row['peer']}: {spread(row['peer_runs'], row['unit'])}" if row["peer"] else ""
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} x"
    verdict = row["verdict"] if row["verdict"] in (MET, "–") else f"**{row['verdict']}**"
    return f"| {row['what']} | {spread(row['runs'], row['unit'])} | {peer} | {ratio} | {row['budget']} | {verdict} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
