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
    said = {job: finals.Final(ns, 5.0, job == "j-aaaa") for job, ns in times.items()}
    finals.save(paths, said)
    assert finals.load(paths) == said
    Path(paths.job("j-aaaa").retry("again")).touch()
    assert set(finals.load(paths)) == {"j-bbbb"}
    Path(paths.job("j-bbbb").folder).rmdir()
    assert finals.load(paths) == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"j-aaaa": 1, "j-bbbb": [1]}', '{"j-aaaa": ["x", null, 0]}'])
def test_a_broken_cache_is_no_cache(paths: SpoolPaths, text: str) -> None:
    Path(paths.finals).write_text(text)
    assert finals.load(paths) == {}
