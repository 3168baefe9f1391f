"""Which hosts a job may go to."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError, UsageError
from orchestrator.hosts.select import choose_hosts
from orchestrator.spec.jobs import HostChoice, HostEntry, HostWord

HOSTS = [
    HostEntry("a", "ssh a", tags=("4090",)),
    HostEntry("b", "ssh b", tags=("4090", "old")),
    HostEntry("c", "local"),
]


def names(*words: str) -> list[str]:
    return [entry.name for entry in choose_hosts(HostChoice(tuple(map(HostWord, words))), HOSTS)]


def test_any_names_and_tags() -> None:
    assert names() == ["a", "b", "c"]
    assert names("any") == ["a", "b", "c"]
    assert names("c", "a") == ["c", "a"]
    assert names("tag:4090") == ["a", "b"]
    assert names("b", "tag:4090", "b") == ["b", "a"]


@pytest.mark.parametrize(
    ("word", "sentence", "hint"),
    [
        ("aa", "no host is called 'aa'; did you mean 'a'?", "There are: a, b, c."),
        ("tag:409", "no host has the tag '409'; did you mean '4090'?", "Tags there are: 4090, old."),
    ],
)
def test_unknown(word: str, sentence: str, hint: str) -> None:
    with pytest.raises(UsageError) as typed:
        choose_hosts(HostChoice((HostWord(word),)), HOSTS)
    assert (typed.value.message, typed.value.hint) == (sentence, hint)
    with pytest.raises(ConfigError) as caught:
        choose_hosts(HostChoice((HostWord(word, "jobs.yaml:3:5"),)), HOSTS)
    assert caught.value.message == f"jobs.yaml:3:5: {sentence}"


def test_no_tags_at_all() -> None:
    with pytest.raises(UsageError) as caught:
        choose_hosts(HostChoice((HostWord("tag:x"),)), [HostEntry("c", "local")])
    assert "--tag" in caught.value.hint
