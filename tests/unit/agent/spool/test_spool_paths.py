from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.paths import SpoolPaths
from tests.unit.agent.spool.builder import Builder

HOSTILE = ["", ".", "..", "../x", "j-../..", "j-a/b", "j-ABCD", "j-abc", "j-abcd\n", "s-abcd", "j-" + "a" * 33, "/etc"]
PATHS = SpoolPaths("/spool")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_job_id_never_leaves_the_spool(name: str) -> None:
    with pytest.raises(AgentFault) as caught:
        PATHS.job(name)
    assert caught.value.code == "bad_request"


@given(st.text())
def test_any_text_is_refused_or_stays_below_the_root(name: str) -> None:
    makers: list[Callable[[], str]] = [
        lambda: PATHS.job(name).folder,
        lambda: PATHS.job("j-abcd").retry(name),
        lambda: PATHS.env(name).folder,
        lambda: PATHS.snapshot(name),
        lambda: PATHS.pack(name),
        lambda: PATHS.pin(name),
        lambda: PATHS.submission(name),
    ]
    for make in makers:
        try:
            path = make()
        except AgentFault:
            continue
        assert os.path.normpath(path) == path
        assert path.startswith("/spool/")


def test_attempts_are_numbers_in_order(spool: Builder) -> None:
    place = spool.paths.job("j-abcd")
    for name in ("1", "2", "10", "x", "03"):
        (Path(place.attempts) / name).mkdir(parents=True)
    assert place.attempt_numbers() == [1, 2, 10]
    assert spool.paths.job("j-none").attempt_numbers() == []
    with pytest.raises(AgentFault):
        place.attempt(0)
