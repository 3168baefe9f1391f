"""`code`: the folders it names are there, or it is told before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.spec.code import check_start, code_folder
from orchestrator.spec.jobs import CodeSpec
from remote_payload.agent.spool.manifests import FILE, FOLDER, LINK
from tests.unit.spec.conftest import Load

SENT = [{"p": p, "t": t} for p, t in (("train.py", FILE), ("src/a/b.py", FILE), ("data", LINK), ("out", FOLDER))]


def test_the_folder_that_is_sent(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "file").write_text("")
    assert code_folder(CodeSpec(), tmp_path / "project") == (tmp_path / "project").resolve()
    assert code_folder(CodeSpec("../lib"), tmp_path / "project") == (tmp_path / "lib").resolve()
    for path, what in (("../nowhere", "is not there"), ("../file", "is a file")):
        with pytest.raises(ConfigError) as caught:
            code_folder(CodeSpec(path, position="jobs.yaml:4:5"), tmp_path / "project")
        assert caught.value.message == f"jobs.yaml:4:5: the folder {path!r} {what}"
        assert caught.value.hint == f"It is looked for at {(tmp_path / 'project' / path).resolve()}."


@pytest.mark.parametrize("folder", [".", "src", "src/a", "data", "data/below", "out"])
def test_folders_a_job_may_start_in(folder: str) -> None:
    check_start(CodeSpec(dir=folder), SENT)


@pytest.mark.parametrize("folder", ["sr", "src/b", "train.py", "train.py/x", "out/x"])
def test_folders_that_are_not_sent(folder: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_start(CodeSpec(dir=folder, position="jobs.yaml:4:5"), SENT)
    assert caught.value.message == f"jobs.yaml:4:5: `code.dir` names {folder!r}, and no such folder is sent"


def test_the_place_is_known_and_does_not_tell_two_codes_apart(load: Load) -> None:
    first, second = load("jobs:\n  a: {run: x, code: {dir: src}}\n  b: {run: x, code: {dir: src}}\n").jobs
    assert first.code.position.endswith("jobs.yaml:2:15")
    assert second.code.position.endswith("jobs.yaml:3:15")
    assert first.code == second.code and hash(first.code) == hash(second.code)
