"""The independent reader: looks at spools, processes and the jobs' own traces, and names what must never be.

It imports nothing of the agent. What it calls a violation is what DESIGN's invariants forbid:
no acknowledged job lost, no job with two live attempts, no GPU leased twice, shown log and pulled files equal to the
host's, no process of an ended attempt left, no half-written file; and each attempt's side effect there exactly once.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.faults.jobs import PRINTED, Witness
from tests.faults.spoolfiles import CAME_TO_NOTHING, Attempt, Job, Spool, is_held, load, read_spool
from tests.faults.traces import left_over

WHOLE = 100
Try = tuple[str, str, int]
"""Host, job, number of the attempt."""


def at_rest(roots: Mapping[str, Path], acknowledged: Iterable[str], witness: Witness) -> list[str]:
    """Look at hosts on which everything should be over.

    Args:
        roots: their spools, by the hosts' names.
        acknowledged: the jobs a controller was told are stored.
        witness: what the jobs say themselves.

    Returns:
        One sentence for each violation.
    """
    spools = [read_spool(root, name) for name, root in roots.items()]
    found = [f"half-written: {path}" for spool in spools for path in spool.broken]
    found += [f"pack damaged: {each}" for spool in spools for each in damaged_packs(spool.root)]
    found += lost(spools, acknowledged)
    for spool in spools:
        found += [f"not over: {each.id} in {spool.root}" for each in spool.jobs.values() if not each.over]
        found += odd_attempts(spool)
        if is_held(spool.root / "keeper" / "lock"):
            found.append(f"a keeper still lives in {spool.root}")
    found += effects(spools, witness)
    return found + left_over(spools, [*(spool.root for spool in spools), witness.folder])


def lost(spools: list[Spool], acknowledged: Iterable[str]) -> list[str]:
    """Return the acknowledged jobs that are nowhere, and jobs that are on two hosts."""
    here = Counter(job.id for spool in spools for job in spool.jobs.values() if not job.moved)
    found = [f"acknowledged and lost: {job}" for job in acknowledged if not here[job]]
    return found + [f"on two hosts: {job}" for job, count in here.items() if count > 1]


def odd_attempts(spool: Spool) -> list[str]:
    """Return attempts that do not fit together, and logs that do not hold what their job printed."""
    found = []
    for job in spool.jobs.values():
        numbers = [each.number for each in job.attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"{job.id}: attempts {numbers}")
    for job, attempt in spool.attempts():
        name = f"{job.id} attempt {attempt.number}"
        if is_held(attempt.folder / "lock"):
            found.append(f"{name}: its lock is held")
        if attempt.end is not None and attempt.end.get("started") and attempt.start is None:
            found.append(f"{name}: it has started and has no start.json")
        if attempt.reason == "exit_zero" and (attempt.start is None or attempt.lease is None):
            found.append(f"{name}: it succeeded without start or lease")
        if job.spec.get("job") == "prints" and attempt.reason == "exit_zero" and not _all_printed(attempt):
            found.append(f"{name}: its log does not hold what it printed")
    return found


def effects(spools: Iterable[Spool], witness: Witness) -> list[str]:
    """Return attempts whose own traces are missing, double, or of nobody, and the conflicts that jobs saw."""
    begun: Counter[Try] = Counter()
    done: Counter[Try] = Counter()
    for line in _lines(witness.effects):
        host, job, number, _, word = line.split()
        (begun if word == "begin" else done)[host, job, int(number)] += 1
    found = [f"conflict: {line}" for line in _lines(witness.conflicts)]
    known: dict[Try, Attempt] = {}
    for spool in spools:
        known.update(
            {(spool.name, job.id, attempt.number): attempt for job, attempt in spool.attempts() if attempt.start}
        )
    for key in {*begun, *done} - set(known):
        found.append(f"{key} left traces and never started")
    for key, attempt in known.items():
        found += _effect(key, attempt, begun[key], done[key])
    return found


def _effect(key: Try, attempt: Attempt, begun: int, done: int) -> list[str]:
    refused = attempt.end is not None and not attempt.end.get("started")
    sure = attempt.end is not None and not refused and attempt.reason not in CAME_TO_NOTHING
    found = []
    if begun > 1 or done > 1:
        found.append(f"{key} ran {begun} times")
    if refused and begun:
        found.append(f"{key} ran although its end says that it never started")
    if sure and begun != 1:
        found.append(f"{key} ended as {attempt.reason} and left {begun} traces of its start")
    if attempt.reason == "exit_zero" and done != 1:
        found.append(f"{key} succeeded and did not come to its end")
    return found


def in_motion(roots: Iterable[Path]) -> list[str]:
    """Look at hosts while they work; return jobs with two live attempts and GPUs that are leased twice.

    An attempt is live that has no end, and a supervisor or a start. Starts are read first, then locks, then ends: who
    has no end after all that was live all the time since.
    """
    folders = [each for root in roots for each in sorted((root / "jobs").glob("*/attempts/*"))]
    started = {each for each in folders if (each / "start.json").exists()}
    held = {each for each in folders if is_held(each / "lock")}
    live = [each for each in folders if each in started | held and not (each / "end.json").exists()]
    found = []
    jobs = Counter(each.parent.parent for each in live)
    found += [f"two live attempts: {job}" for job, count in jobs.items() if count > 1]
    leased: Counter[str] = Counter()
    for each in live:
        for gpu in (load(each / "lease.json", []) or {}).get("gpus", ()):
            leased[gpu["uuid"]] += int(gpu["share"])
    # Read again: a lease that was looked at after another ended is no conflict.
    gone = any((each / "end.json").exists() for each in live)
    return found + [f"leased twice: {gpu}" for gpu, share in leased.items() if share > WHOLE and not gone]


def wrong_logs(spool: Spool, shown: Mapping[Try, bytes]) -> list[str]:
    """Return attempts of which a controller showed other bytes than lie on the host."""
    found = []
    for job, attempt in spool.attempts():
        seen = shown.get((spool.name, job.id, attempt.number))
        if seen is not None and seen != _bytes(attempt.folder / "log"):
            found.append(f"shown log differs: {job.id} attempt {attempt.number}")
    return found


def wrong_results(job: Job, folder: Path) -> list[str]:
    """Return output files of a job that did not come home as they are. folder: the job's, on the laptop."""
    outputs = job.folder / "outputs"
    found = []
    for path in sorted(outputs.rglob("*")):
        home = folder / path.relative_to(outputs)
        if path.is_file() and (not home.is_file() or home.read_bytes() != path.read_bytes()):
            found.append(f"pulled file differs: {job.id} {path.relative_to(outputs)}")
    last = job.attempts[-1] if job.attempts else None
    if last is not None and last.start is not None and _bytes(folder / "log") != _bytes(last.folder / "log"):
        found.append(f"pulled log differs: {job.id}")
    return found


def damaged_packs(root: Path) -> list[str]:
    """Return stored packs in which some blob is not what its digest says."""
    found = []
    for path in sorted((root / "packs").glob("*.json")):
        index = load(path, [])
        data = _bytes(path.with_suffix(".pack"))
        for entry in index or ():
            part = data[entry["o"] : entry["o"] + entry["s"]]
            plain = zlib.decompress(part) if entry["z"] else part
            if hashlib.sha256(plain).hexdigest() != entry["h"]:
                found.append(f"{path.name} {entry['h'][:12]}")
    return found


def _all_printed(attempt: Attempt) -> bool:
    lines = _bytes(attempt.folder / "log").decode().splitlines()
    return [each for each in lines if each.startswith("line ")] == [f"line {n} of job" for n in range(1, PRINTED + 1)]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
