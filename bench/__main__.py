"""`python -m bench [NAME…] [--json FILE] [--quick]`."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.rows import MISSED, NO_PEER, Row, spread
from bench.sizes import QUICK, WHOLE, Size

MEASURES = (
    "job_gap",
    "many_jobs",
    "history",
    "at_rest",
    "warm_submit",
    "sync",
    "many_hosts",
    "log_latency",
    "pull_big",
    "startup",
    "install",
)
"""In the order they run: modules of bench.measures."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON.

    Returns:
        0 when every measure came to its end (a missed budget is a result, not an error), else 1.
    """
    args = _arguments(argv)
    # What the libraries say of lines that are broken on purpose is no result.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    # Ended from outside, it still ends what it began.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    size = QUICK if args.quick else WHOLE
    console = Console(width=None if sys.stdout.isatty() else 160)
    where = machine()
    done: list[dict[str, Any]] = []
    rows: list[Row] = []
    broken = 0
    for name in args.names or MEASURES:
        began = time.monotonic()
        try:
            for row in _measure(name, size):
                console.print(f"{row.verdict:>12}  {row.what}: {spread(row.runs, row.unit)}", highlight=False)
                rows.append(row)
                done.append({"measure": name, **row.as_json()})
        except Exception:  # a measure that breaks is told, and the others still run
            broken += 1
            console.print(f"      BROKEN  {name}\n{traceback.format_exc()}", style="red", highlight=False, markup=False)
            done.append({"measure": name, "broken": traceback.format_exc()})
        console.print(f"              {name} took {time.monotonic() - began:.0f} s", style="dim", highlight=False)
    console.print(table(rows))
    if args.json:
        _write(Path(args.json), done, size, where)
    return 1 if broken else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Measures orch beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {' '.join(MEASURES)}; all when none is named")
    parser.add_argument("--json", metavar="FILE", help="write every single run there")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, says little")
    args = parser.parse_args(argv)
    args.names = [name.replace("-", "_") for name in args.names]
    for name in args.names:
        if name not in MEASURES:
            parser.error(f"no measure is called {name!r}; there are: {' '.join(MEASURES)}")
    return args


def _measure(name: str, size: Size) -> Iterator[Row]:
    rows: Iterator[Row] = importlib.import_module(f"bench.measures.{name}").measure(size)
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table."""
    made = Table(title="orch beside its peers (median, smallest to largest)")
    for name in ("what", "orch", "peer", "ratio", "budget", "verdict"):
        made.add_column(name, overflow="fold")
    for row in rows:
        peer = f"{row.peer}: {spread(row.peer_runs, row.unit)}" if row.peer else ""
        style = "red" if row.verdict in (MISSED, NO_PEER) else ""
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
        made.add_row(row.what, spread(row.runs, row.unit), peer, ratio, row.budget, row.verdict, style=style)
    return made


def machine() -> dict[str, Any]:
    """Return the machine in words: no names and no paths. Its load is what it had to do before the run."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "") if sys.platform == "linux" else ""
    return {
        "cores": os.cpu_count(), "memory_gb": round(pages / 1e9), "system": f"{release or platform.system()}",
        "kernel": platform.release().split("-")[0], "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def _write(path: Path, done: Sequence[dict[str, Any]], size: Size, where: dict[str, Any]) -> None:
    whole = {"at": time.strftime("%Y-%m-%d"), "quick": size.quick, "machine": where, "rows": list(done)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
