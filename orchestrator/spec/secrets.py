"""Secrets: found on this computer, never in a file."""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.spec.jobs import Secret
from orchestrator.spec.loader import read_document
from orchestrator.spec.nodes import Document, Place
from orchestrator.spec.words import listed

Source = Callable[[str], "str | None"]
"""Returns the value of a secret by its name, or None."""

KEYRING_SERVICE = "orch"
NETRC_HOSTS = {"WANDB_API_KEY": "api.wandb.ai"}
_SURE = 8
"""From this length on a value is looked for anywhere; a shorter one only as a word of its own."""
_SHORTEST = 4


def from_environment(name: str) -> str | None:
    """Return the value of a variable of this process."""
    return os.environ.get(name) or None


def from_keyring(name: str) -> str | None:
    """Return the password of `name` in the service `orch` of this computer's keyring."""
    # Imported when it is needed: it looks for its backends at once, and most secrets are found before.
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(KEYRING_SERVICE, name) or None
    except (KeyringError, OSError, RuntimeError):
        return None


def from_netrc(name: str) -> str | None:
    """Return the password that netrc has for the service a secret belongs to (only WANDB_API_KEY)."""
    host = NETRC_HOSTS.get(name)
    if host is None:
        return None
    given = os.environ.get("NETRC")
    for path in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            found = netrc.netrc(str(path)).authenticators(host)
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
        if found and found[2]:
            return found[2]
    return None


SOURCES: tuple[Source, ...] = (from_environment, from_keyring, from_netrc)


def find_secrets(wanted: Iterable[tuple[Secret, str]], sources: Sequence[Source] = SOURCES) -> dict[str, str]:
    """Return the values of secrets by name; optional ones that are not set are left out.

    Args:
        wanted: each secret and where it is wanted (file:line:column), for those that know no place of their own.
        sources: asked in this order.

    Raises:
        ConfigError: one that is not optional is not set.
    """
    values: dict[str, str] = {}
    missing: dict[str, str] = {}
    asked: dict[str, str | None] = {}
    for secret, position in wanted:
        name = secret.name
        if name not in asked:
            asked[name] = next((value for source in sources if (value := source(name))), None)
        value = asked[name]
        if value is not None and "\0" not in value:
            values[name] = value
        elif not secret.optional:
            missing.setdefault(name, secret.position or position)
    if missing:
        first, position = next(iter(missing.items()))
        is_are = "is" if len(missing) == 1 else "are"
        word = "secret" if len(missing) == 1 else "secrets"
        ways = f"export {first}=…, or `keyring set {KEYRING_SERVICE} {first}`"
        if first in NETRC_HOSTS:
            ways += f", or a line for {NETRC_HOSTS[first]} in ~/.netrc (`wandb login`)"
        hint = f"Set it on this computer: {ways}. If the job can do without, name it `{first}?`."
        raise ConfigError(f"{position}: the {word} {listed(missing)} {is_are} not set", hint)
    return values


def refuse_found(path: Path, values: Mapping[str, str]) -> None:
    """Refuse a file in which a value stands that was found for one of its secrets, wherever it was found.

    Args:
        path: the jobs.yaml; it need not exist.
        values: by name.

    Raises:
        ConfigError: with the place, and without the value.
    """
    if path.exists():
        refuse_values(read_document(path), values, values)


def refuse_values(document: Document, names: Iterable[str], environ: Mapping[str, str] | None = None) -> None:
    """Refuse a file in which the value of one of its secrets stands.

    Args:
        document: the file.
        names: of its secrets.
        environ: where their values are; by default this process's environment.

    Raises:
        ConfigError: with the place, and without the value.
    """
    values = os.environ if environ is None else environ
    for name in dict.fromkeys(names):
        value = values.get(name, "").strip()
        if len(value) < _SHORTEST:
            continue
        edge = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
        pattern = re.escape(value) if len(value) >= _SURE else edge[0] + re.escape(value) + edge[1]
        found = re.search(pattern, document.text)
        if found:
            before = document.text[: found.start()].split("\n")
            place = Place(len(before), len(before[-1]) + 1)
            hint = "Take it out; `secrets` holds names only. Whoever has seen the file knows the value: change it."
            raise document.error(place, f"the value of the secret {name} stands here", hint)
