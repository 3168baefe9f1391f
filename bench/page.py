"""`python -m bench.page FILE.json docs/performance.md`: puts the figures of a run into the page, between its marks."""

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
    whole = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    page = Path(argv[1])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + text(whole) + END + rest.partition(END)[2], encoding="utf-8")
    return 0


def text(whole: Mapping[str, Any]) -> str:
    """Return a run as Markdown. whole: what `--json` writes."""
    machine = whole["machine"]
    said = (
        f"Run of {whole['at']}{' (quick sizes)' if whole['quick'] else ''}: {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Linux {machine['kernel']}, Python {machine['python']}; "
        f"load before the run {machine['load']} (other work on the same cores).\n\n"
    )
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
