from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.spool import atomic, outputs
from remote_payload.agent.spool.outputs import Outputs
from remote_payload.agent.spool.workdir import extract
from remote_payload.agent.wire.messages import JobSpec, OutputList
from tests.unit.agent.spool.builder import Builder, sha

CODE = {"train.py": b"print(1)\n", "data/x.csv": b"1,2\n", "keep.txt": b"keep"}


class Job:
    """A job whose workdir is laid out."""

    def __init__(self, spool: Builder, **changes: Any) -> None:
        self.spool = spool
        snapshot = spool.snapshot(CODE, {"p": "ln", "t": "l", "to": "train.py"})
        self.spec: JobSpec = spool.submit(snapshot, **changes)
        place = spool.paths.job(self.spec["id"])
        atomic.make_folder(place.outputs)
        extract(spool.paths, snapshot, place.workdir, place.workdir_index)
        self.workdir, self.outputs = Path(place.workdir), Path(place.outputs)

    def listed(self) -> OutputList:
        return Outputs(self.spool.paths, self.spec).list()

    def names(self) -> list[str]:
        return [file["path"] for file in self.listed()["files"]]


def test_untouched_code_does_not_come_home(spool: Builder) -> None:
    job = Job(spool)
    assert job.listed() == {"files": [], "left_out": [], "attempt": 0, "log_size": 0}


def test_new_and_changed_files_come_home(spool: Builder) -> None:
    job = Job(spool)
    (job.workdir / "model.pt").write_bytes(b"weights")
    (job.workdir / "data/x.csv").write_bytes(b"9,9\n")
    (job.workdir / "sub").mkdir()
    (job.workdir / "sub/new\nname").write_bytes(b"n")
    (job.workdir / "train.py").unlink()
    os.utime(job.workdir / "keep.txt", (1, 1))
    (job.outputs / "best").mkdir()
    (job.outputs / "best/model.sh").write_bytes(b"m")
    (job.outputs / "best/model.sh").chmod(0o755)
    spool.attempt(job.spec["id"], 2, log=b"12345")
    listed = job.listed()
    found = {(file["root"], file["path"]): file for file in listed["files"]}
    assert set(found) == {
        ("outputs", "best/model.sh"),
        ("workdir", "model.pt"),
        ("workdir", "data/x.csv"),
        ("workdir", "sub/new\nname"),
    }
    assert found["workdir", "model.pt"]["sha256"] == sha(b"weights")
    assert found["workdir", "model.pt"]["size"] == 7
    assert found["outputs", "best/model.sh"]["executable"]
    assert (listed["attempt"], listed["log_size"]) == (2, 5)


def test_links_are_named_and_never_followed(spool: Builder, tmp_path: Path) -> None:
    job = Job(spool)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (job.workdir / "away").symlink_to(outside)
    (job.workdir / "ln").unlink()
    (job.workdir / "ln").symlink_to("other")
    listed = sorted(job.listed()["files"], key=lambda file: file["path"])
    assert [(file["path"], file["link"], file["size"]) for file in listed] == [
        ("away", str(outside), 0),
        ("ln", "other", 0),
    ]


def test_rubbish_and_special_files_stay(spool: Builder) -> None:
    job = Job(spool)
    for name in ("__pycache__/a.pyc", ".git/HEAD", "b.pyc", ".ipynb_checkpoints/n.ipynb"):
        (job.workdir / name).parent.mkdir(exist_ok=True)
        (job.workdir / name).write_bytes(b"x")
    os.mkfifo(job.workdir / "pipe")
    here = os.getcwd()
    os.chdir(job.workdir)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("sock")
    finally:
        os.chdir(here)
    listed = job.listed()
    assert listed["files"] == []
    assert sorted((path, why) for path, _, why in listed["left_out"]) == [
        ("pipe", "it is no file (a pipe)"),
        ("sock", "it is no file (a socket)"),
    ]


def test_what_does_not_fit_is_listed_largest_first_to_stay(spool: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "AUTO_BYTES", 100)
    job = Job(spool)
    for name, size in (("a", 60), ("b", 30), ("c", 50)):
        (job.workdir / name).write_bytes(b"x" * size)
    (job.outputs / "huge").write_bytes(b"x" * 1000)
    listed = job.listed()
    assert sorted(file["path"] for file in listed["files"]) == ["b", "c", "huge"]
    assert [row[:2] for row in listed["left_out"]] == [["a", 60]]


def test_globs_bring_what_they_name(spool: Builder) -> None:
    job = Job(spool, outputs=["runs/**", "*.py", "../x", "none/*"])
    for name in ("runs/a/m.pt", "runs/__pycache__/x.pyc", "other.txt"):
        (job.workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (job.workdir / name).write_bytes(b"x")
    assert sorted(job.names()) == ["runs/__pycache__/x.pyc", "runs/a/m.pt", "train.py"]
    assert [row[0] for row in job.listed()["left_out"]] == ["../x", "none/*"]


def test_a_job_without_workdir_has_no_results(spool: Builder) -> None:
    spec = spool.submit()
    assert Outputs(spool.paths, spec).list()["files"] == []


def test_names_that_are_no_text_survive(spool: Builder) -> None:
    job = Job(spool)
    with open(os.fsencode(str(job.workdir)) + b"/raw\xff", "wb") as stream:
        stream.write(b"1")
    assert job.names() == ["raw\udcff"]


def test_a_growing_file_is_hashed_as_far_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10)
    assert outputs.hash_file(os.fsencode(path)) == (10, sha(b"x" * 10))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError):
        outputs.hash_file(os.fsencode(tmp_path / "link"))
