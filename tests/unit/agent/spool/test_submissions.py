from __future__ import annotations

import os
from pathlib import Path

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic, states
from remote_payload.agent.spool.fold import Retry, fold
from remote_payload.agent.spool.submissions import (
    Submissions,
    is_cancelled,
    is_surely_over,
    load_facts,
    load_job,
    read_waiting,
)
from remote_payload.agent.spool.views import Views
from tests.unit.agent.spool.builder import Builder, end, start


def test_jobs_come_in_the_order_they_were_submitted(spool: Builder) -> None:
    book = Submissions(spool.paths)
    assert book.refresh() == []
    late = spool.submit(submitted_at=20.0)
    early = spool.submit(submitted_at=10.0)
    assert [spec["id"] for spec in book.refresh()] == [early["id"], late["id"]]
    assert book.refresh() == []
    again = spool.submit(submitted_at=15.0)
    assert [spec["id"] for spec in book.refresh()] == [again["id"]]
    assert [spec["id"] for spec in book.jobs()] == [early["id"], again["id"], late["id"]]
    assert book.find(late["id"]) == late
    os.unlink(spool.paths.submission(late["submission"]))
    book.refresh()
    assert book.find(late["id"]) is None


def test_a_broken_submission_is_named_and_the_others_stay(spool: Builder) -> None:
    good = spool.submit()
    Path(spool.paths.submission("s-abcd")).write_text('{"id": "s-abcd", "jobs": [')
    Path(spool.paths.submission("s-efgh")).write_text('{"id": "s-abcd", "jobs": []}')
    (Path(spool.paths.submits) / "notes.txt").write_text("hand-made")
    book = Submissions(spool.paths)
    assert [spec["id"] for spec in book.refresh()] == [good["id"]]
    assert sorted(book.broken) == ["s-abcd.json", "s-efgh.json"]


def test_one_job_is_found_without_the_others(spool: Builder) -> None:
    specs = [spool.submit() for _ in range(3)]
    for spec in specs:
        assert load_job(spool.paths, spec["id"]) == spec
    with pytest.raises(AgentFault) as caught:
        load_job(spool.paths, "j-none")
    assert caught.value.code == "not_found"


def test_facts_are_what_the_files_say(spool: Builder) -> None:
    spec = spool.submit()
    assert load_facts(spool.paths, spec).attempts == ()
    spool.attempt(spec["id"], 1, end=end("exit_nonzero"), start=start(), log=b"123")
    spool.attempt(spec["id"], 2, lease={"gpus": []})
    place = spool.paths.job(spec["id"])
    atomic.write_json(place.retry("abc"), {"at": 5.0, "after": 1})
    holder = spool.hold(place.attempt(2).lock)
    facts = load_facts(spool.paths, spec, log_sizes=True)
    assert [attempt.alive for attempt in facts.attempts] == [False, True]
    assert [attempt.log_size for attempt in facts.attempts] == [3, 0]
    assert facts.retries == (Retry(5.0, 1),)
    assert fold(facts, 0.0).state == states.STARTING
    os.close(holder)
    assert not load_facts(spool.paths, spec).attempts[1].alive


def test_a_cancel_stands_until_somebody_tries_again(spool: Builder) -> None:
    spec = spool.submit()
    place = spool.paths.job(spec["id"])
    atomic.make_folder(place.folder)
    assert not is_cancelled(spool.paths, spec["id"])
    atomic.write_json(place.cancel, {"at": 5.0})
    assert is_cancelled(spool.paths, spec["id"])
    atomic.write_json(place.retry("abc"), {"at": 6.0, "after": 0})
    assert not is_cancelled(spool.paths, spec["id"])


def test_waiting_words_are_a_cache(spool: Builder) -> None:
    assert read_waiting(spool.paths) == {}
    Path(spool.paths.waiting).write_text("{")
    assert read_waiting(spool.paths) == {}
    atomic.write_json(spool.paths.waiting, {"j-abcd": {"reason": "no_gpu"}, "../x": {}, "j-efgh": 7})
    assert read_waiting(spool.paths) == {"j-abcd": {"reason": "no_gpu"}}


def test_over_only_when_it_is_sure(spool: Builder) -> None:
    spec = spool.submit()
    job = spec["id"]
    assert not is_surely_over(spool.paths, job)
    spool.attempt(job, 1)
    assert not is_surely_over(spool.paths, job)
    spool.attempt(job, 1, end=end())
    assert is_surely_over(spool.paths, job)
    atomic.write_json(spool.paths.job(job).retry("x"), {"at": 1.0, "after": 1})
    assert not is_surely_over(spool.paths, job)


def test_a_view_tells_the_newest_attempt(spool: Builder) -> None:
    spec = spool.submit(params={"lr": "1e-4"})
    spool.attempt(spec["id"], 1, start=start(), end=end("exit_nonzero", 9.0, 3), log=b"x")
    views = Views(spool.paths)
    view = views.view(spec, {})
    assert (view["state"], view["reason"], view["exit_code"]) == ("FAILED", "exit_nonzero", 3)
    assert (view["started_at"], view["ended_at"], view["params"]) == (1.0, 9.0, {"lr": "1e-4"})
    atomic.write_json(spool.paths.job(spec["id"]).retry("x"), {"at": 10.0, "after": 1})
    view = views.view(spec, {spec["id"]: {"reason": "no_gpu", "detail": "1 of 1"}})
    assert (view["state"], view["waiting_for"], view["exit_code"]) == ("PENDING", "no_gpu", None)
    assert [attempt["state"] for attempt in view["attempts"]] == ["FAILED"]
    spool.attempt(spec["id"], 2, start={**start(), "gpus": [1]}, log=b"Epoch 3/10\n")
    holder = spool.hold(spool.paths.attempt(spec["id"], 2).lock)
    view = views.view(spec, {})
    assert (view["state"], view["gpus"]) == ("RUNNING", [1])
    assert view["progress"] is not None
    os.close(holder)


def test_a_view_is_made_anew_when_files_change_long_after(spool: Builder) -> None:
    """Folders whose time is old are believed unchanged; a change gives them a new time."""
    spec = spool.submit()
    spool.attempt(spec["id"], 1, end=end())
    place = spool.paths.job(spec["id"])
    for folder in (place.attempts, place.folder):
        os.utime(folder, (1, 1))
    views = Views(spool.paths)
    assert views.view(spec, {})["state"] == "SUCCEEDED"
    assert views.view(spec, {})["state"] == "SUCCEEDED"
    atomic.write_json(place.retry("x"), {"at": 1.0, "after": 1})
    assert views.view(spec, {})["state"] == "PENDING"


def test_a_job_with_a_broken_file_is_shown_with_it(spool: Builder) -> None:
    spec = spool.submit()
    spool.attempt(spec["id"], 1)
    Path(spool.paths.attempt(spec["id"], 1).end).write_text("{")
    view = Views(spool.paths).view(spec, {})
    assert "end.json" in view["detail"]
