"""Results come home whole, go on after a cut, and overwrite nothing."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.fetch.pull import pull_job
from orchestrator.fetch.source import ResultSource
from orchestrator.remote.agent_link import AgentLink
from remote_payload.agent.wire.messages import OutputList
from tests.unit.fetch.source import FolderSource, job_view, put


def a_link_is_a_source(link: AgentLink) -> ResultSource:
    """Only for the type checker: the real link has what a pull needs."""
    return link


@pytest.fixture
def host(tmp_path: Path) -> FolderSource:
    folder = tmp_path / "host"
    put(
        folder,
        {"log.1": b"epoch 1\n" * 700, "workdir/out/model.bin": os.urandom(5000), "outputs/metrics.jsonl": b"{}\n"},
    )
    return FolderSource(folder)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def tree(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def test_everything_comes_home(host: FolderSource, results: Path) -> None:
    (host.folder / "workdir/run.sh").write_bytes(b"#!/bin/sh\n")
    (host.folder / "workdir/run.sh").chmod(0o755)
    os.utime(host.folder / "workdir/run.sh", (1e9, 1e9))
    put(host.folder, {"workdir/empty": b"", "workdir/with space\u00e9": b"1"})
    seen: list[tuple[int, int]] = []

    report = pull_job(host, job_view(host), results, progress=lambda done, total: seen.append((done, total)))

    home = results / "s-1" / "train"
    assert report.folder == home
    files = tree(home)
    assert files.pop("log") == b"epoch 1\n" * 700
    view = json.loads(files.pop("job.json"))
    assert (view["id"], view["host"]) == ("j-1", "box")
    assert files == {
        "out/model.bin": (host.folder / "workdir/out/model.bin").read_bytes(),
        "metrics.jsonl": b"{}\n",
        "run.sh": b"#!/bin/sh\n",
        "empty": b"",
        "with space\u00e9": b"1",
    }
    status = (home / "run.sh").stat()
    assert stat.S_IMODE(status.st_mode) & 0o100 and status.st_mtime == 1e9
    assert not stat.S_IMODE((home / "empty").stat().st_mode) & 0o111
    assert (report.files, report.skipped, report.left_out, report.renamed) == (5, 0, [], [])
    assert report.bytes == host.sent
    assert seen[-1] == (host.sent, host.sent)
    assert host.marked == [("j-1", 1, str(home))]
    assert not (home / ".partial").exists()


def test_a_second_pull_sends_next_to_nothing(host: FolderSource, results: Path) -> None:
    pull_job(host, job_view(host), results)
    before = tree(results)
    host.sent = 0
    report = pull_job(host, job_view(host), results)
    assert tree(results) == before
    assert (report.files, report.skipped, report.bytes) == (0, 2, 0)
    assert host.sent <= 2 * 4096


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 9000), min_size=1, max_size=6),
    sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=5),
    chunk=st.integers(1, 3000),
)
def test_cut_anywhere_a_pull_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], sizes: list[int], chunk: int
) -> None:
    base = tmp_path_factory.mktemp("cut")
    put(base / "host", {f"workdir/d/{n}": os.urandom(size) for n, size in enumerate(sizes)})
    put(base / "host", {"log.1": os.urandom(2000)})
    host = FolderSource(base / "host", chunk=chunk)
    for cut in cuts:
        host.cut_after = host.sent + cut
        try:
            pull_job(host, job_view(host), base / "results")
        except UnreachableError:
            continue
    host.cut_after = None
    report = pull_job(host, job_view(host), base / "results")
    assert report.left_out == []
    here = tree(report.folder)
    assert {name: data for name, data in here.items() if name.startswith("d/")} == {
        f"d/{path.name}": path.read_bytes() for path in (base / "host/workdir/d").iterdir()
    }
    assert here["log"] == (base / "host/log.1").read_bytes()
    assert not (report.folder / ".partial").exists()


def test_what_arrived_is_not_sent_again(host: FolderSource, results: Path) -> None:
    host.cut_after = 5600 + 3 + 3500
    with pytest.raises(UnreachableError):
        pull_job(host, job_view(host), results)
    assert not host.marked
    host.cut_after, host.sent = None, 0
    pull_job(host, job_view(host), results)
    assert host.sent <= 4096 + 2000


def test_a_partial_file_gone_bad_is_fetched_anew(host: FolderSource, results: Path) -> None:
    data = (host.folder / "workdir/out/model.bin").read_bytes()
    put(results / "s-1/train/.partial", {hashlib.sha256(data).hexdigest(): b"\0" * 2000})
    report = pull_job(host, job_view(host), results)
    assert (report.folder / "out/model.bin").read_bytes() == data
    assert report.left_out == []


def test_nothing_is_overwritten(host: FolderSource, results: Path) -> None:
    pull_job(host, job_view(host), results)
    old = (host.folder / "workdir/out/model.bin").read_bytes()
    put(host.folder, {"workdir/out/model.bin": b"second", "log.2": b"again\n"})
    host.attempt = 2
    report = pull_job(host, job_view(host), results)
    home = report.folder
    assert (home / "out/model.bin").read_bytes() == old
    assert (home / "out/model.attempt-2.bin").read_bytes() == b"second"
    assert (home / "log").read_bytes() == b"again\n"
    assert (home / "log.1").read_bytes() == b"epoch 1\n" * 700
    assert report.renamed == [("out/model.bin", "out/model.attempt-2.bin")]
    put(host.folder, {"workdir/out/model.bin": b"third"})
    pull_job(host, job_view(host), results)
    assert (home / "out/model.attempt-2-2.bin").read_bytes() == b"third"
    before = tree(results)
    pull_job(host, job_view(host), results)
    assert tree(results) == before


def test_a_running_job_may_be_pulled_and_its_log_grows(host: FolderSource, results: Path) -> None:
    report = pull_job(host, job_view(host, state="RUNNING"), results)
    assert not report.marked and not host.marked
    put(host.folder, {"log.1": b"epoch 1\n" * 700 + b"epoch 2\n"})
    host.sent = 0
    report = pull_job(host, job_view(host), results)
    assert (report.folder / "log").read_bytes() == b"epoch 1\n" * 700 + b"epoch 2\n"
    assert host.sent < 4096 + 100 and report.marked


def test_a_log_that_was_touched_here_stays(host: FolderSource, results: Path) -> None:
    report = pull_job(host, job_view(host), results)
    (report.folder / "log").write_bytes(b"my notes")
    report = pull_job(host, job_view(host), results)
    assert (report.folder / "log").read_bytes() == b"my notes"
    assert (report.folder / "log.attempt-1").read_bytes() == b"epoch 1\n" * 700
    assert "another log" in report.warnings[0]


def test_same_content_crosses_the_line_once(host: FolderSource, results: Path) -> None:
    data = os.urandom(4000)
    put(host.folder, {f"workdir/copy{n}": data for n in range(5)})
    report = pull_job(host, job_view(host), results)
    assert all((report.folder / f"copy{n}").read_bytes() == data for n in range(5))
    assert host.sent == 5600 + 5000 + 3 + 4000


def test_our_own_names_and_both_roots(host: FolderSource, results: Path) -> None:
    put(host.folder, {"workdir/log": b"mine", "workdir/job.json": b"{}", "workdir/metrics.jsonl": b"other"})
    report = pull_job(host, job_view(host), results)
    home = tree(report.folder)
    assert home["%6Cog"] == b"mine" and home["%6Aob.json"] == b"{}"
    assert home["metrics.jsonl"] == b"{}\n" and home["%6Detrics.jsonl"] == b"other"
    assert sorted(report.renamed) == [
        ("job.json", "%6Aob.json"),
        ("log", "%6Cog"),
        ("metrics.jsonl", "%6Detrics.jsonl"),
    ]


def test_hostile_entries_are_named_and_the_rest_goes_on(host: FolderSource, results: Path) -> None:
    def lie(listed: OutputList) -> None:
        good = listed["files"][0]
        for path in ("../evil", "/etc/evil", "a/../../evil", "a//b", "nul\0", ""):
            listed["files"].append({**good, "path": path})
        listed["files"].append({**good, "path": "up", "link": "../../.."})
        listed["files"].append({**good, "path": "up/evil"})
        listed["files"].append({**good, "root": "attempt"})
        listed["files"].append({**good, "path": "short", "sha256": "zz"})
        listed["files"].append({**good, "path": "negative", "size": -1})

    host.change = lie
    report = pull_job(host, job_view(host), results)
    assert sum("refused" in why for _, _, why in report.left_out) == 10
    assert ("up", "../../..") in report.outward
    assert set(tree(report.folder)) == {"log", "job.json", "out/model.bin", "metrics.jsonl"}
    assert set(tree(results.parent)) == {
        *(f"host/{name}" for name in tree(host.folder)),
        *(f"results/{name}" for name in tree(results)),
    }
    assert not host.marked


def test_a_symlink_here_is_not_written_through(host: FolderSource, results: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (results / "s-1/train").mkdir(parents=True)
    (results / "s-1/train/out").symlink_to(outside)
    report = pull_job(host, job_view(host), results)
    assert list(outside.iterdir()) == []
    assert report.left_out == [("out/model.bin", 5000, "out is in the way, which is no folder here")]


def test_symlinks_inside_are_made_again(host: FolderSource, results: Path) -> None:
    (host.folder / "workdir/latest").symlink_to("out/model.bin")
    (host.folder / "workdir/out/back").symlink_to("../latest")
    (host.folder / "workdir/abroad").symlink_to("/etc/passwd")
    report = pull_job(host, job_view(host), results)
    assert str((report.folder / "latest").readlink()) == "out/model.bin"
    assert str((report.folder / "out/back").readlink()) == "../latest"
    assert not os.path.lexists(report.folder / "abroad")
    assert report.outward == [("abroad", "/etc/passwd")] and report.marked


def test_a_file_that_changes_meanwhile_is_named(host: FolderSource, results: Path) -> None:
    def late(listed: OutputList) -> None:
        (host.folder / "workdir/out/model.bin").write_bytes(b"shorter")
        (host.folder / "outputs/metrics.jsonl").write_bytes(b"[]\n")
        host.change = lambda listed: None

    put(host.folder, {"workdir/zz": b"whole"})
    host.change = late
    report = pull_job(host, job_view(host), results)
    assert [path for path, _, _ in report.left_out] == ["metrics.jsonl", "out/model.bin"]
    assert not report.marked
    assert set(tree(report.folder)) == {"log", "job.json", "zz"}
    assert pull_job(host, job_view(host), results).marked


@pytest.mark.parametrize(("row", "marked"), [(["*.zip", 0, "matches nothing"], True), (["big", 9, "over 2 GB"], False)])
def test_what_the_host_leaves_out_is_told(host: FolderSource, results: Path, row: list[object], marked: bool) -> None:
    host.change = lambda listed: listed["left_out"].append(row)
    report = pull_job(host, job_view(host), results)
    assert report.left_out == [tuple(row)]
    assert report.marked is marked


def test_names_that_cannot_be_held(host: FolderSource, results: Path) -> None:
    name = b"caf\xe9\n.bin"
    (host.folder / "workdir" / os.fsdecode(name)).write_bytes(b"1")
    report = pull_job(host, job_view(host), results)
    assert (report.folder / "caf%E9%0A.bin").read_bytes() == b"1"
    assert report.renamed == [("caf\udce9\n.bin", "caf%E9%0A.bin")]


def test_job_names_cannot_climb(host: FolderSource, results: Path) -> None:
    report = pull_job(host, job_view(host, name="../../x"), results)
    assert report.folder == results / "s-1" / "..%2F..%2Fx"


def test_attempt_numbers_cannot_climb(host: FolderSource, results: Path) -> None:
    view = job_view(host)
    for number in ("../../../evil", -1, True, 0):
        view["attempts"].append({**view["attempts"][0], "number": number})  # type: ignore[typeddict-item]
    report = pull_job(host, view, results)
    assert report.warnings == ["the host told of an attempt that cannot be"] * 4
    assert set(tree(results)) == {"s-1/summary.csv", *(f"s-1/train/{name}" for name in tree(report.folder))}


def test_another_job_of_that_name_gets_its_own_folder(host: FolderSource, results: Path) -> None:
    first = pull_job(host, job_view(host), results).folder
    assert pull_job(host, job_view(host, job="j-2"), results).folder == first.with_name("train.j-2")


def test_summary(host: FolderSource, results: Path) -> None:
    for number in (10, 2):
        pull_job(host, job_view(host, name=f"train.{number}", job=f"j-{number}"), results)
    with (results / "s-1/summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["train.2", "train.10"]
    assert rows[0] == {
        "name": "train.2",
        "id": "j-2",
        "host": "box",
        "state": "SUCCEEDED",
        "reason": "exit_zero",
        "exit_code": "0",
        "attempt": "1",
        "lr": "1e-4",
        "started": "1970-01-01T00:01:40Z",
        "ended": "1970-01-01T00:01:42Z",
        "seconds": "2.5",
    }


def test_a_folder_that_cannot_be_written_is_one_sentence(host: FolderSource, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(RefusedError, match="results cannot be written to"):
        pull_job(host, job_view(host), tmp_path / "results")
