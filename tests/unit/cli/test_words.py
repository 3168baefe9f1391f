"""Sentences for people: a host's name once, and what nobody could be asked."""

from __future__ import annotations

import pytest

from orchestrator.cli import ask, change_views
from orchestrator.cli.console import of_host
from orchestrator.errors import RefusedError


def test_a_host_is_named_once() -> None:
    assert of_host("box", "no route") == "box: no route"
    assert of_host("box", "box: 10.0.0.1: refused") == "box: 10.0.0.1: refused"
    assert of_host("box", "box did not answer within 10 s") == "box did not answer within 10 s"
    assert of_host("box", "boxes are full") == "box: boxes are full"
    assert of_host("b.x", "bax is no host") == "b.x: bax is no host"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("That makes 120 jobs. Go on?", "That makes 120 jobs: nobody is here to say yes"),
        ("Cancel 3 jobs (a, b, c)?", "Cancel 3 jobs (a, b, c): nobody is here to say yes"),
    ],
)
def test_what_nobody_can_be_asked_is_refused(monkeypatch: pytest.MonkeyPatch, question: str, said: str) -> None:
    monkeypatch.setattr(ask, "interactive", lambda: False)
    with pytest.raises(RefusedError) as caught:
        ask.confirm(question)
    assert caught.value.message == said


def test_many_changed_jobs_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"id": f"j-{n}", "name": f"a.{n}", "state": "CANCELLED"} for n in range(11)]
    change_views._tell([*rows, {"id": "j-x", "name": "b", "state": "CANCELLING"}])
    assert capsys.readouterr().err == "11 jobs: cancelled\n1 job: cancelling\n"
    change_views._tell(rows[:1])
    assert capsys.readouterr().err == "a.0: cancelled\n"
