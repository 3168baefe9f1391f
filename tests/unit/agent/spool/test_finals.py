"""The cache of jobs that are over: believed only while their folders are as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_payload.agent.spool import finals
from remote_payload.agent.spool.paths import SpoolPaths


@pytest.fixture
def paths(tmp_path: Path) -> SpoolPaths:
    made = SpoolPaths(str(tmp_path))
    Path(made.keeper).mkdir()
    for job in ("j-aaaa", "j-bbbb"):
        Path(made.job(job).folder).mkdir(parents=True)
    return made


def test_what_was_over_is_over_until_its_folder_changes(paths: SpoolPaths) -> None:
    times = finals.folder_times(paths)
    said = finals.Past({job: finals.Final(ns, 5.0, job == "j-aaaa", "s-aaaa") for job, ns in times.items()}, {})
    finals.save(paths, said)
    assert finals.load(paths) == said
    Path(paths.job("j-aaaa").retry("again")).touch()
    assert set(finals.load(paths).jobs) == {"j-bbbb"}
    Path(paths.job("j-bbbb").folder).rmdir()
    assert finals.load(paths).jobs == {}


def test_a_submission_is_over_when_all_its_jobs_are_and_its_file_is_as_it_was(paths: SpoolPaths) -> None:
    Path(paths.submits).mkdir()
    file = Path(paths.submission("s-aaaa"))
    file.write_text("{}")
    times = finals.folder_times(paths)
    jobs = {job: finals.Final(times[job], at, False, "s-aaaa") for job, at in (("j-aaaa", 5.0), ("j-bbbb", 7.0))}
    stamp = finals.stamp_of(paths, "s-aaaa", 2)
    assert finals.Past(jobs, {"s-aaaa": stamp}).whole(paths) == {"s-aaaa": 7.0}
    assert finals.Past(jobs, {"s-aaaa": stamp._replace(jobs=3)}).whole(paths) == {}
    assert finals.Past(jobs, {}).whole(paths) == {}
    file.write_text("{} ")
    assert finals.Past(jobs, {"s-aaaa": stamp}).whole(paths) == {}


BROKEN = [
    "",
    "[]",
    "{",
    '{"j-aaaa": [1, 1, 1]}',
    '{"jobs": {"j-aaaa": 1, "j-bbbb": [1]}, "submissions": {"s-aaaa": 1}}',
    '{"jobs": {"j-aaaa": ["x", null, 0, 1]}, "submissions": {"s-aaaa": [1, "x", 2]}}',
    '{"jobs": [], "submissions": {}}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_cache_is_no_cache(paths: SpoolPaths, text: str) -> None:
    Path(paths.finals).write_text(text)
    assert finals.load(paths) == finals.Past({}, {})
