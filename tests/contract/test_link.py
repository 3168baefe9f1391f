"""Bringing up the real agent and speaking with it, over every transport alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.errors import AgentError, UnreachableError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.payload import payload
from remote_payload.agent.wire.protocol import PROTOCOL_VERSION
from tests.contract.conftest import PROFILE, Place


def test_hello_tells_who_answers(place: Place) -> None:
    (place.home / "here").touch()
    link = place.link(probe=["~/here", str(place.home / "here"), "/no/such"])
    hello = link.hello
    assert hello["protocol"] == PROTOCOL_VERSION
    assert hello["agent"] == payload().digest
    assert hello["home"] == str(place.home)
    assert hello["paths"]["/no/such"] is False
    assert hello["paths"][str(place.home / "here")] is True
    assert abs(hello["time"] - time.time()) < 60
    assert link.host_id
    assert link.opened["root"].startswith(str(place.home))
    assert link.profile_name == "generic"
    assert link.connect_seconds > 0


def test_agent_is_installed_once(place: Place) -> None:
    first = place.link()
    assert first.agent_hash == payload().digest
    (installed,) = (place.home / ".orch/agent" / first.agent_hash).iterdir()
    made = installed.stat().st_ino
    second = place.link(expect_agent=first.agent_hash)
    assert second.opened["host_id"] == first.opened["host_id"]
    assert installed.stat().st_ino == made


def test_expected_agent_that_is_gone_is_installed(place: Place) -> None:
    link = place.link(expect_agent=payload().digest)
    assert link.hello["agent"] == payload().digest
    assert link.ping() < 5


def test_profile_may_be_chosen_from_hello(place: Place) -> None:
    seen: list[Mapping[str, Any]] = []

    def choose(hello: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(hello)
        return {**PROFILE, "name": "chosen"}

    link = place.link(profile=choose)
    assert seen[0]["home"] == str(place.home)
    assert link.profile_name == "chosen"


def test_chooser_that_refuses_leaves_nothing_open(place: Place) -> None:
    def choose(hello: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AgentError("no such profile")

    with pytest.raises(AgentError, match="no such profile"):
        place.link(profile=choose)


def test_unknown_method_and_bad_arguments_are_answered(link: AgentLink) -> None:
    with pytest.raises(AgentError) as caught:
        link.rpc.call("format_disk")
    assert caught.value.code == "unknown_method"
    with pytest.raises(AgentError) as caught:
        link.rpc.call("follow", colour="red")
    assert caught.value.code == "bad_request"
    with pytest.raises(AgentError) as caught:
        link.read_log("../../etc/passwd")
    assert caught.value.code in ("bad_request", "not_found")
    assert link.ping() < 5


def test_gpus_and_facts(link: AgentLink) -> None:
    assert link.gpus()["state"] in ("ok", "no_tool", "no_device", "driver_broken", "timeout")
    facts = link.facts()
    assert facts["disk"]["free"] > 0
    assert facts["cpu"]["nproc"] >= 1


def test_status_is_one_answer(link: AgentLink) -> None:
    status = link.status()
    assert status["jobs"] == []
    assert status["disk"]["total"] >= status["disk"]["free"] > 0
    assert status["keeper"]["alive"] in (True, False)


def test_exec_gives_both_streams_and_the_code(link: AgentLink) -> None:
    run = link.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])
    got: dict[int, bytes] = {1: b"", 2: b""}
    for fd, data in run:
        got[fd] += data
    assert got == {1: b"out\n", 2: b"err\n"}
    assert (run.exit_code, run.signal) == (7, None)


def test_exec_of_much_is_whole(link: AgentLink) -> None:
    run = link.exec(["sh", "-c", "yes 0123456789abcde | head -c 5000000"])
    data = b"".join(piece for _, piece in run)
    assert len(data) == 5_000_000
    assert data == (b"0123456789abcde\n" * 312_500)


def test_slow_consumer_does_not_block_a_ping(link: AgentLink) -> None:
    run = iter(link.exec(["sh", "-c", "yes | head -c 50000000"]))
    next(run)
    assert max(link.ping() for _ in range(5)) < 1


def test_bulk_is_a_second_channel(link: AgentLink) -> None:
    bulk = link.bulk()
    assert bulk is not link.rpc
    assert link.bulk() is bulk
    bulk.close()
    again = link.bulk()
    assert again is not bulk
    assert again.ping() < 5


def test_many_threads_share_a_link(link: AgentLink) -> None:
    errors: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(20):
                link.jobs()
                link.ping()
        except AgentError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


def test_lost_line_reaches_everybody(place: Place) -> None:
    link = place.link()
    run = link.exec(["sleep", "8"])
    errors: list[Exception] = []

    def wait() -> None:
        try:
            list(run)
        except UnreachableError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    place.break_line(link)
    waiting.join(10)
    assert len(errors) == 1
    with pytest.raises(UnreachableError):
        link.status()
    assert not link.is_alive()
    assert place.link().status()["jobs"] == []


def test_closed_link(place: Place) -> None:
    link = place.link()
    link.close()
    with pytest.raises(UnreachableError):
        link.ping()
    link.close()
