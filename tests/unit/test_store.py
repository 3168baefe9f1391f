"""The store keeps what was promised, with many at work, and says plainly when it cannot."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.store import Store
from orchestrator.store.hashes import HashRow
from remote_payload.agent.wire.messages import Submission
from tests.unit.fetch.source import FolderSource, job_view

WRITER = """
import sys
from pathlib import Path
from orchestrator.store import Store
with Store(Path(sys.argv[1])) as store:
    for number in range(20):
        store.save_submission(f"s-{sys.argv[2]}-{number}", project="p", folder="/", created_at=1.0, jobs=[], frozen={})
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orch.db"


def part(sid: str = "s-1") -> Submission:
    return {
        "id": sid,
        "project": "p",
        "owner": "me",
        "created_at": 5.0,
        "controller": "laptop",
        "path_on_controller": "/p",
        "jobs": [],
    }


def save(store: Store, sid: str = "s-1", created_at: float = 5.0, project: str = "p") -> None:
    jobs = [(f"j-{sid}-1", "train.1", "box1", "f1"), (f"j-{sid}-2", "train.2", "box2", "f2")]
    frozen = {"box1": part(sid), "box2": part(sid)}
    store.save_submission(sid, project=project, folder="/p", created_at=created_at, jobs=jobs, frozen=frozen)


def test_a_submission_is_followed_to_its_acknowledgement(path: Path) -> None:
    with Store(path) as store:
        save(store)
        store.mark("s-1", "box1", "sent")
        store.mark("s-1", "box1", "acked")
        (row,) = store.interrupted("p")
        assert (row.id, row.jobs, row.acked) == ("s-1", 2, 1)
        assert row.hosts == {"box1": "acked", "box2": "planned"}
        assert store.interrupted("other") == []
        assert store.frozen("s-1") == {"box1": part(), "box2": part()}
        assert store.frozen("s-9") == {}
    with Store(path) as store:
        store.mark("s-1", "box2", "dropped")
        assert store.interrupted() == []
        assert [row.id for row in store.submissions("p")] == ["s-1"]
        with pytest.raises(ValueError):
            store.mark("s-1", "box2", "lost")


def test_submissions_newest_first(path: Path) -> None:
    with Store(path) as store:
        save(store, "s-old", 1.0)
        save(store, "s-new", 2.0)
        save(store, "s-other", 3.0, project="q")
        assert [row.id for row in store.submissions("p")] == ["s-new", "s-old"]
        assert [row.id for row in store.submissions(limit=1)] == ["s-other"]


def test_a_submission_being_sent_by_a_living_process_is_not_interrupted(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from orchestrator.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.save_submission('s-1', project='p', folder='/', created_at=time.time(), jobs=[], frozen={'box': {}})\n"
        "print('saved', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "saved\n"
        with Store(path) as store:
            assert store.interrupted() == []
            other.communicate()
            assert [row.id for row in store.interrupted()] == ["s-1"]


def test_twins(path: Path, tmp_path: Path) -> None:
    with Store(path) as store:
        save(store)
        assert store.live_twins("p", {"f1"}) == []
        store.mark("s-1", "box1", "acked")
        assert store.live_twins("p", {"f1", "f2"}) == ["j-s-1-1"]
        assert store.live_twins("q", {"f1"}) == []
        view = job_view(FolderSource(tmp_path), state="SUCCEEDED", job="j-s-1-1")
        store.save_views("box1", [view], 10.0)
        assert store.live_twins("p", {"f1"}) == []
        assert store.host_of("j-s-1-1") == "box1" and store.host_of("j-s-1-2") == "box2"
        assert store.host_of("j-0") is None


def test_views_are_kept_and_the_newer_one_wins(path: Path, tmp_path: Path) -> None:
    source = FolderSource(tmp_path)
    with Store(path) as store:
        store.save_views("box", [job_view(source, state="RUNNING")], 10.0)
        store.save_views("box", [job_view(source, state="PENDING")], 9.0)
        ((host, view, seen_at),) = store.cached_views()
        assert (host, view["state"], seen_at) == ("box", "RUNNING", 10.0)
        store.save_views("box", [job_view(source, state="SUCCEEDED"), job_view(source, job="j-2")], 11.0)
        assert [view["id"] for _, view, _ in store.cached_views(host="box", project="digits")] == ["j-1", "j-2"]
        assert store.cached_views(project="other") == [] == store.cached_views(host="other")
        store.forget_views(["j-2"])
        assert [view["state"] for _, view, _ in store.cached_views()] == ["SUCCEEDED"]
        hostile = job_view(source, job="j-\ud800")
        store.save_views("box", [hostile], 12.0)


def test_hosts(path: Path) -> None:
    with Store(path) as store:
        assert store.host_seen("box") is None
        store.note_host("box", agent_hash="abc", host_id="h1", seen_at=1.0, facts={"gpus": 2})
        store.note_host("box", seen_at=2.0)
        seen = store.host_seen("box")
        assert seen is not None and (*seen,) == ("abc", "h1", 2.0, {"gpus": 2})
        save(store)
        store.rename_host("box", "box1")
        assert store.host_seen("box") is None and store.host_seen("box1") is not None
        store.rename_host("box2", "box3")
        assert set(store.frozen("s-1")) == {"box1", "box3"}
        store.forget_host("box1")
        assert store.host_seen("box1") is None


def test_digests(path: Path) -> None:
    row = HashRow(5, 10**18, 10**18 + 1, 2**64 - 1, "a" * 64, 4, True, True)
    with Store(path) as store:
        store.save_hashes("/code\udcff", {"a": row, "b\udce9\n": row}, [])
        assert store.cached_hashes("/code\udcff") == {"a": row, "b\udce9\n": row}
        store.save_hashes("/code\udcff", {"a": row._replace(size=6)}, ["b\udce9\n", "c"])
        assert store.cached_hashes("/code\udcff") == {"a": row._replace(size=6)}
        assert store.cached_hashes("/other") == {}


def test_only_its_owner_may_read_it(path: Path) -> None:
    with Store(path) as store:
        save(store)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_many_processes_at_once(path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in started:
        assert process.communicate()[1] == "" and process.returncode == 0
    with Store(path) as store:
        assert len(store.submissions(limit=1000)) == 80


def test_many_threads_at_once(path: Path, tmp_path: Path) -> None:
    view = job_view(FolderSource(tmp_path))
    with Store(path) as store:

        def work(number: int) -> None:
            for at in range(20):
                store.save_views(f"box{number}", [{**view, "id": f"j-{number}-{at}"}], 1.0)
                store.cached_views(host=f"box{number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.cached_views()) == 160


def test_a_failed_write_leaves_nothing(path: Path) -> None:
    with Store(path) as store:
        save(store)
        with pytest.raises(sqlite3.IntegrityError):
            save(store)
        save(store, "s-2")
        assert len(store.submissions()) == 2


def test_a_newer_store_is_refused(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(UsageError, match="written by a newer orch"):
        Store(path)


def test_a_damaged_store_is_a_sentence(path: Path) -> None:
    path.write_bytes(os.urandom(4096))
    with pytest.raises(UsageError, match="cannot be used") as caught:
        Store(path)
    assert "Move orch.db away" in caught.value.hint


def test_a_store_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be used: No such file"):
        Store(tmp_path / "missing" / "orch.db")
