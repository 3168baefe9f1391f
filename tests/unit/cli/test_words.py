"""Sentences for people: a host's name once, and what nobody could be asked."""

from __future__ import annotations

import pytest

from orchestrator.cli import ask
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
