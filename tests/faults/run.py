"""`python -m tests.faults.run`: rounds of faults, one line each, a summary in JSON at the end."""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.faults.rounds import SHORT, Report, Round, Scale

EACH_WITH_FULL_DISK = 4
"""One round in so many has a host on a disk that is filled (mounting it needs root or sudo)."""


def main(argv: list[str]) -> int:
    """Run rounds; returns 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how many; 0 = until stopped")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next has the next number")
    parser.add_argument("--short", action="store_true", help="one host, a few jobs")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a round that failed")
    options = parser.parse_args(argv)
    seed = random.SystemRandom().randint(1, 10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    # Lines that break are what is tried here, not what is to be told.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    reports: list[Report] = []
    try:
        while not options.rounds or len(reports) < options.rounds:
            number = seed + len(reports)
            scale = SHORT if options.short else Scale(full_disk=number % EACH_WITH_FULL_DISK == 0)
            reports.append(one(number, scale, options.keep))
    except KeyboardInterrupt:
        print("stopped", flush=True)
    print(json.dumps(summary(seed, reports)))
    return 1 if any(report.violations for report in reports) else 0


def one(seed: int, scale: Scale, keep: bool) -> Report:
    """Run one round in a folder of its own and print its line."""
    folder = Path(tempfile.mkdtemp(prefix="orch-faults-"))
    report = Round(folder, seed, scale).run()
    made = ", ".join(f"{count} {name}" for name, count in sorted(report.faults.items()))
    print(
        f"round {seed}: {report.jobs} jobs, {report.attempts} attempts, {report.crashes} crash points, {made}: "
        f"{len(report.violations)} violations in {report.seconds:.0f} s",
        flush=True,
    )
    for violation in report.violations:
        print(f"  {violation}", flush=True)
    if report.violations and keep:
        print(f"  kept: {folder}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def summary(seed: int, reports: list[Report]) -> dict[str, object]:
    """Return what all rounds came to."""
    faults: dict[str, int] = {}
    for report in reports:
        for name, count in report.faults.items():
            faults[name] = faults.get(name, 0) + count
    return {
        "rounds": len(reports),
        "first_seed": seed,
        "jobs": sum(report.jobs for report in reports),
        "attempts": sum(report.attempts for report in reports),
        "crash_points": sum(report.crashes for report in reports),
        "faults": faults,
        "violations": sum(len(report.violations) for report in reports),
        "failed": [asdict(report)["seed"] for report in reports if report.violations],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
