"""JOB words: ids, prefixes, names, cells, submissions."""

from __future__ import annotations

import pytest

from orchestrator.api.find import Located, each_once, match, newest_submission
from orchestrator.errors import UsageError
from remote_payload.agent.wire.messages import JobView


def job(ident: str, name: str, submission: str, at: float, host: str = "box") -> Located:
    view: JobView = {
        "id": ident, "name": name, "job": name.split(".")[0], "project": "p", "submission": submission, "owner": "me",
        "params": {}, "state": "RUNNING", "reason": None, "detail": "", "waiting_for": None, "attempt": 1,
        "attempts": [], "exit_code": None, "signal": None, "submitted_at": at, "started_at": at, "ended_at": None,
        "gpus": [], "progress": None, "path": "", "pull": "auto", "env_digest": None, "hints": [],
    }  # fmt: skip
    return Located(host, view)


JOBS = [
    job("j-old1", "train.1", "s-old", 1),
    job("j-new1", "train.1", "s-new", 2),
    job("j-new2", "train.2", "s-new", 2, "other"),
    job("j-eval", "eval", "s-old", 1),
]


def ids(found: list[Located]) -> list[str]:
    return [one.view["id"] for one in found]


def test_a_name_means_all_cells_of_its_newest_submission() -> None:
    assert ids(match(["train"], JOBS)) == ["j-new1", "j-new2"]


def test_a_cell_an_id_a_prefix_a_submission() -> None:
    assert ids(match(["train.1"], JOBS)) == ["j-new1"]
    assert ids(match(["j-old1"], JOBS)) == ["j-old1"]
    assert ids(match(["j-e"], JOBS)) == ["j-eval"]
    assert ids(match(["s-old"], JOBS)) == ["j-old1", "j-eval"]


def test_a_job_named_twice_is_found_once() -> None:
    assert ids(match(["train.1", "j-new1", "s-new"], JOBS)) == ["j-new1", "j-new2"]


def test_an_ambiguous_prefix_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="j-n could be any of j-new1, j-new2"):
        match(["j-n"], JOBS)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        match(["trian"], JOBS)
    assert caught.value.hint == "Did you mean train?"


def test_newest_submission() -> None:
    assert ids(newest_submission(JOBS)) == ["j-new1", "j-new2"]
    assert newest_submission([]) == []


def test_two_names_of_one_machine_show_a_job_once() -> None:
    near, far = job("j-a", "train", "s-a", 1, "near"), job("j-a", "train", "s-a", 1, "far")
    assert [one.host for one in each_once([near, far], lambda _: None)] == ["near"]
    assert [one.host for one in each_once([near, far], lambda _: "far")] == ["far"]
    old = Located("near", near.view, seen_at=5.0)
    assert [one.host for one in each_once([old, far], lambda _: "near")] == ["far"], "a fresh answer counts more"
    assert [one.host for one in each_once([far, old], lambda _: "near")] == ["far"]
