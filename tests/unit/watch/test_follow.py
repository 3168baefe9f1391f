"""Following over a real agent: no byte lost or doubled wherever the line breaks, and a flood is cut where allowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UnreachableError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.link_types import LogPiece
from orchestrator.remote.local import LocalTransport, plain_environment
from orchestrator.watch.follow import Event, Follower, HostLost, LogBytes, LogEnded, Skipped, StateChanged, Watched
from tests.harness.submitting import Sent, wait_final

PROFILE: dict[str, Any] = {"name": "generic", "identity": None, "root": None, "conda_roots": []}


class BreakingLink(AgentLink):
    """A real link whose line breaks at a chosen piece of a log, once."""

    breaks_at: str = ""

    def follow(self, job: str, attempt: int = 0, offset: int = 0, which: str = "log") -> Iterator[LogPiece]:
        for piece in super().follow(job, attempt, offset, which):
            yield piece
            if self.breaks_at == ("end" if piece.end else "data"):
                self.breaks_at = ""
                raise UnreachableError("the line broke", host=self.name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def link(home: Path) -> Iterator[BreakingLink]:
    transport = LocalTransport("gpu1", plain_environment(str(home)))
    with BreakingLink.open("gpu1", transport, profile=PROFILE) as made:
        assert isinstance(made, BreakingLink)
        yield made


def submit(link: AgentLink, home: Path, run: str) -> str:
    sent = Sent(home.parent / "code", run)
    sent.send(link)
    return sent.job


def everything(follower: Follower) -> list[Event]:
    return [event for event in follower.events() if event is not None]


def log_of(events: list[Event]) -> bytes:
    """Put the pieces together by their offsets; each must begin where the one before ended."""
    whole = b""
    for event in events:
        if isinstance(event, LogBytes):
            assert event.offset == len(whole)
            whole += event.data
    return whole


@pytest.mark.parametrize("where", ["data", "end"])
def test_a_line_that_breaks_brings_every_byte_once(link: BreakingLink, home: Path, where: str) -> None:
    job = submit(link, home, "for i in $(seq 50); do echo line $i; done")
    wait_final(link, job)
    link.breaks_at = where
    events = everything(Follower([Watched("gpu1", lambda: link, [job])]))
    assert log_of(events) == b"".join(b"line %d\n" % n for n in range(1, 51))
    assert len([event for event in events if isinstance(event, HostLost)]) == 1
    assert isinstance(events[-1], LogEnded)


def test_only_the_logs_asked_for(link: BreakingLink, home: Path) -> None:
    jobs = [submit(link, home, f"echo {name}") for name in ("one", "two")]
    for job in jobs:
        wait_final(link, job)
    events = everything(Follower([Watched("gpu1", lambda: link, jobs)], logs={jobs[1]}))
    assert {event.job for event in events if isinstance(event, LogBytes)} == {jobs[1]}
    assert {event.view["id"] for event in events if isinstance(event, StateChanged)} == set(jobs)
    assert not [
        e for e in everything(Follower([Watched("gpu1", lambda: link, jobs)], logs=())) if isinstance(e, LogBytes)
    ]


def test_a_flood_is_taken_up_near_its_end_where_that_is_allowed(link: BreakingLink, home: Path) -> None:
    megabyte = "head -c 1000000 /dev/zero | tr '\\0' x"
    job = submit(link, home, f"until [ -e ~/go ]; do {megabyte}; sleep 0.05; done; echo; echo last")
    seen = 0
    skipped = 0
    last = b""
    slow_reader = threading.Event()
    for event in Follower([Watched("gpu1", lambda: link, [job])], skip_behind=500_000).events():
        if isinstance(event, LogBytes):
            assert event.offset == seen
            seen += len(event.data)
            last = (last + event.data)[-20:]
            if not skipped:
                slow_reader.wait(0.05)
        elif isinstance(event, Skipped):
            skipped += event.count
            seen += event.count
            (home / "go").touch()
    assert skipped > 0 and last.endswith(b"x\nlast\n")
    part = link.read_log(job, tail_lines=0)
    assert seen == part.size


def test_a_later_attempt_is_followed_too(link: BreakingLink, home: Path) -> None:
    failing = submit(link, home, "echo attempt $ORCH_ATTEMPT; exit 1")
    other = submit(link, home, "until [ -e ~/go ]; do sleep 0.05; done")
    got: list[tuple[int, bytes]] = []
    for event in Follower([Watched("gpu1", lambda: link, [failing, other])]).events():
        if isinstance(event, LogBytes):
            got.append((event.attempt, event.data))
        if isinstance(event, LogEnded) and event.job == failing:
            if len(got) == 1:
                link.retry([failing])
            else:
                (home / "go").touch()
    assert got == [(1, b"attempt 1\n"), (2, b"attempt 2\n")]
