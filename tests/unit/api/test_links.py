"""Questions to many hosts at once: what goes wrong with one is told, and never waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.api.links import Links
from orchestrator.errors import UnreachableError
from orchestrator.hosts.inventory import HostEntry
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.asker import SilentAsker
from orchestrator.store import Store


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Links:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Links(tmp_path, Store(tmp_path / "orch.db"), SilentAsker())


def test_a_bug_in_a_question_is_raised_where_it_was_asked(links: Links) -> None:
    def broken(link: AgentLink) -> None:
        raise AssertionError(f"a bug about {link.name}")

    with pytest.raises(AssertionError, match="a bug about here"):
        links.each([HostEntry("here", "local")], broken, deadline=float("inf"))
    links.close()


def test_a_host_that_is_not_there_has_an_error_and_the_other_an_answer(links: Links) -> None:
    hosts = [HostEntry("here", "local"), HostEntry("gone", "ssh -p 1 nobody@127.0.0.1")]
    answers = links.each(hosts, lambda link: link.ping(), deadline=60)
    assert answers["here"].value is not None
    assert isinstance(answers["gone"].error, UnreachableError)
    links.close()
