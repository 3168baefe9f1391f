"""Which hosts a job may go to. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import ConfigError, UsageError
from orchestrator.spec.fields import TAG_PREFIX
from orchestrator.spec.jobs import HostChoice, HostEntry, HostWord
from orchestrator.spec.words import listed, near


def choose_hosts(choice: HostChoice, hosts: Sequence[HostEntry]) -> list[HostEntry]:
    """Return the hosts that a job's `hosts` means, each once, in the order they were named.

    Args:
        choice: of the job.
        hosts: every host known: the inventory's and the project's own.

    Raises:
        ConfigError: a name or tag that no host has (UsageError when it came from the command line).
    """
    if not choice.words:
        return list(hosts)
    found: dict[str, HostEntry] = {}
    for word in choice.words:
        for entry in _meant(word, hosts):
            found.setdefault(entry.name, entry)
    return list(found.values())


def _meant(word: HostWord, hosts: Sequence[HostEntry]) -> list[HostEntry]:
    if word.text == "any":
        return list(hosts)
    if word.text.startswith(TAG_PREFIX):
        tag = word.text.removeprefix(TAG_PREFIX)
        tagged = [entry for entry in hosts if tag in entry.tags]
        if not tagged:
            tags = sorted({tag for entry in hosts for tag in entry.tags})
            known = (
                f"Tags there are: {listed(tags)}." if tags else "No host has a tag: orch host add NAME LINE --tag TAG"
            )
            raise _unknown(word, f"no host has the tag {tag!r}{near(tag, tags)}", known)
        return tagged
    named = [entry for entry in hosts if entry.name == word.text]
    if not named:
        names = [entry.name for entry in hosts]
        raise _unknown(word, f"no host is called {word.text!r}{near(word.text, names)}", f"There are: {listed(names)}.")
    return named


def _unknown(word: HostWord, sentence: str, hint: str) -> UsageError:
    return ConfigError(f"{word.position}: {sentence}", hint) if word.position else UsageError(sentence, hint)
