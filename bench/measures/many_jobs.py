"""A submission of a thousand jobs: one acknowledgement; then all of them are cancelled again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.place import NAME as HOST
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size

NAME = "many-jobs"
MOST = 3.0


def measure(size: Size) -> Iterator[Row]:
    """Yield how long submitting and cancelling take."""
    submits: list[float] = []
    cancels: list[float] = []
    with place() as host:
        host.add()
        # Held, so that the jobs themselves do not compete for the processor with what is measured.
        host.orch("host", "pause", HOST)
        cells = ", ".join(map(str, range(size.jobs)))
        for _ in range(size.runs):
            host.project(f"jobs:\n  t:\n    run: echo ${{{{ matrix.n }}}}\n    matrix: {{n: [{cells}]}}\n"
                         "    resources: {gpus: 0}\n    pull: never\n")  # fmt: skip
            before = _stored(host)
            submits.append(host.orch("submit", "-d", "-y").seconds)
            acknowledged = _stored(host) - before
            cancels.append(host.orch("cancel", "--all", "-y").seconds)
            host.quiet()
    yield Row(f"{size.jobs:,} jobs submitted", submits, "s", most=MOST,
              note="the whole command; the last run left a single file to be acknowledged")  # fmt: skip
    yield Row("acknowledgements of that submission", [acknowledged], "", most=1)
    yield Row(f"{size.jobs:,} waiting jobs cancelled", cancels, "s", note="the whole command")


def _stored(host: Place) -> int:
    return len(list(Path(host.spool.submits).glob("s-*.json")))
