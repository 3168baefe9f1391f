"""`orch --help` and `orch --version`: time, memory, and what is imported for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bench.commands import peak_mb, run
from bench.place import Place, place
from bench.rows import Row
from bench.sizes import Size

NAME = "startup"
MOST_MS, MOST_MB = 150.0, 40.0
HEAVY = ("fabric", "paramiko", "invoke", "pydantic", "torch", "wandb", "numpy", "keyring")
RUNS = 11
LIST = "import sys; sys.argv = ['orch', '--help']; sys.stdout = None\n" \
       "from orchestrator.cli.main import main\n" \
       "try:\n    main()\nexcept SystemExit:\n    pass\n" \
       "sys.__stdout__.write(' '.join(sorted(sys.modules)))"  # fmt: skip


def measure(size: Size) -> Iterator[Row]:
    """Yield time and memory of both, beside a Python that does nothing."""
    with place() as host:
        empty = [sys.executable, "-c", "pass"]
        for option in ("--help", "--version"):
            host.orch(option)  # compiled once
            pairs = [(host.orch(option), host.peer(*empty)) for _ in range(RUNS)]
            yield Row(f"orch {option}", [ours.seconds * 1000 for ours, _ in pairs], "ms", "python -c pass",
                      [bare.seconds * 1000 for _, bare in pairs], most=MOST_MS,
                      note="SkyPilot took 1.7 s and dstack 1.0 s where the budget was set")  # fmt: skip
            yield Row(f"orch {option}: largest memory", [_peak(host, host.laptop.argv(option)) for _ in range(3)],
                      "MB", "python -c pass",
                      [_peak(host, empty) for _ in range(3)], most=MOST_MB)  # fmt: skip
        yield _heavy(host)


def _peak(host: Place, argv: list[str]) -> float:
    return peak_mb(argv, host.laptop.environment(), host.laptop.folder)


def _heavy(host: Place) -> Row:
    argv = [sys.executable, "-c", LIST]
    loaded = run(argv, host.laptop.environment(), host.laptop.folder).out.decode().split()
    found = [name for name in HEAVY if name in loaded]
    return Row("heavy libraries imported by orch --help", [len(found)], "", most=0, note=" ".join(found) or "none")
