"""How much of each thing is measured: a whole run takes ten minutes, a quick one shows that the bench works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What is measured.

    Args:
        quick: the small run.
        runs: how often each thing is done; the median counts.
        jobs: of a large submission.
        history: finished jobs of an old spool.
        rest_seconds: how long processes at rest are watched.
        gaps: jobs that follow one another.
        files: of a first sync, and how large each is on average, in bytes.
        file_bytes: of those files.
        hosts: asked at once.
        pull_bytes: of the large file fetched.
        lines: printed by a job while somebody looks on.
    """

    quick: bool
    runs: int
    jobs: int
    history: int
    rest_seconds: float
    gaps: int
    files: int
    file_bytes: int
    hosts: int
    pull_bytes: int
    lines: int


WHOLE = Size(False, 5, 1000, 10_000, 30.0, 20, 1000, 20_000, 50, 1_000_000_000, 100)
QUICK = Size(True, 2, 200, 1000, 5.0, 6, 200, 20_000, 8, 50_000_000, 30)
