from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.gc import Gc, Wish
from remote_payload.agent.spool.pins import pin
from remote_payload.agent.spool.workdir import extract
from remote_payload.agent.wire.messages import JobSpec
from tests.unit.agent.spool.builder import Builder, end

LONG_AGO = time.time() - 30 * 24 * 3600
OLD = {"ended_at": LONG_AGO}


def age(*paths: str) -> None:
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def age_code(spool: Builder) -> None:
    for folder in (spool.paths.packs, spool.paths.snapshots):
        age(*(os.path.join(folder, name) for name in os.listdir(folder)))


def ended(spool: Builder, snapshot: str, pulled: int | None = 1, **changes: Any) -> JobSpec:
    spec = spool.submit(snapshot, submitted_at=LONG_AGO, **changes)
    place = spool.paths.job(spec["id"])
    atomic.make_folder(place.outputs)
    Path(place.outputs, "result").write_bytes(b"x" * 100)
    extract(spool.paths, snapshot, place.workdir, place.workdir_index)
    spool.attempt(spec["id"], 1, end={**end(), **OLD}, log=b"kept")
    if pulled is not None:
        atomic.write_json(place.pulled, {"attempt": pulled, "at": 1.0, "to": "/x"})
    return spec


def run(spool: Builder, **wish: Any) -> list[tuple[str, str]]:
    return sorted((item["what"], item["path"]) for item in Gc(spool.paths, Wish(**wish)).run()["removed"])


def test_pulled_results_go_and_what_was_not_pulled_stays(spool: Builder) -> None:
    snapshot = spool.snapshot({"a": b"1"})
    gone = spool.paths.job(ended(spool, snapshot)["id"])
    kept = spool.paths.job(ended(spool, snapshot, pulled=None)["id"])
    older = spool.paths.job(ended(spool, snapshot, pulled=2)["id"])
    expected = [("outputs", gone.outputs), ("workdir", gone.workdir)]
    assert run(spool, dry_run=True) == expected
    assert os.path.isdir(gone.workdir)
    assert run(spool) == expected
    assert not os.path.exists(gone.workdir) and not os.path.exists(gone.outputs)
    assert Path(gone.attempt(1).log).read_bytes() == b"kept"
    assert os.path.isdir(kept.workdir) and os.path.isdir(older.outputs)
    assert run(spool) == []
    assert len(run(spool, unpulled=True)) == 4


def test_a_job_that_ended_just_now_stays_as_it_is(spool: Builder) -> None:
    snapshot = spool.snapshot({"a": b"1"})
    spec = ended(spool, snapshot)
    atomic.write_json(spool.paths.attempt(spec["id"], 1).end, {**end(), "ended_at": time.time()})
    age_code(spool)
    assert run(spool) == []
    assert {what for what, _ in run(spool, older_than=0.0, dry_run=True)} == {"workdir", "outputs"}


def test_code_goes_when_no_job_needs_it_and_nobody_was_told_of_it(spool: Builder) -> None:
    waiting = spool.snapshot({"a": b"1", "shared": b"s"})
    spool.submit(waiting)
    lonely = spool.snapshot({"b": b"2", "shared": b"s"})
    pinned = spool.snapshot({"c": b"3"})
    assert run(spool) == []
    age_code(spool)
    pin(spool.paths, [pinned])
    removed = run(spool)
    assert ("snapshot", spool.paths.snapshot(lonely)) in removed
    assert not any(path == spool.paths.snapshot(pinned) for _, path in removed)
    for snapshot, name in ((waiting, "one"), (pinned, "two")):
        place = spool.paths.job("j-" + name + "x")
        atomic.make_folder(place.folder)
        assert extract(spool.paths, snapshot, place.workdir, place.workdir_index)
    age(*(spool.paths.pin(name) for name in os.listdir(spool.paths.pins)))
    assert ("snapshot", spool.paths.snapshot(pinned)) in run(spool)


def test_leftovers_of_killed_processes_go(spool: Builder) -> None:
    old, new = Path(spool.paths.tmp, "pack-old"), Path(spool.paths.tmp, "pack-new")
    half = Path(spool.paths.submits, "s-abcd.json.123.tmp")
    for path in (old, new, half):
        path.write_bytes(b"x")
    building = spool.paths.env("ab" * 32)
    atomic.make_folder(building.folder)
    tree = Path(spool.paths.tmp, "setup-" + "ab" * 32)
    tree.mkdir()
    age(str(old), str(half), str(tree))
    holder = spool.hold(building.building)
    assert run(spool) == [("leftover", str(half)), ("leftover", str(old))]
    os.close(holder)
    assert run(spool) == [("leftover", str(tree))]
    assert new.exists()


def test_nothing_goes_while_the_queue_cannot_be_read(spool: Builder) -> None:
    spool.snapshot({"a": b"1"})
    age_code(spool)
    Path(spool.paths.submission("s-abcd")).write_text("{")
    with pytest.raises(AgentFault) as caught:
        run(spool)
    assert "s-abcd.json" in caught.value.message
    assert len(os.listdir(spool.paths.packs)) == 2
