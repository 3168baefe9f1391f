"""What is wrong with a file: every finding with its place, the first in the file's order raised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.spec.fields import Sentence
from orchestrator.spec.nodes import Document, Leaf, Map, Node, Place, Seq, plain
from orchestrator.spec.sshline import NO_PASSWORD
from orchestrator.spec.words import counted, listed, near

M = TypeVar("M", bound=BaseModel)

_PASSWORDS = frozenset(("password", "passwd", "pass", "pwd", "passphrase"))
_OTHER_MEANING = frozenset((
    "cpus", "disk", "guard", "memory", "patch", "price", "proxy", "python", "subdir", "uv",
))  # fmt: skip
"""Keys that mean something of their own, though not here: a name that only looks like them would be bad advice."""
_TYPES = {
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "list_type": "must be a list",
    "string_type": "must be text",
}


class Problem(Exception):
    """One finding: where, the sentence, the next step."""

    def __init__(self, place: Place, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.place = place
        self.sentence = sentence
        self.hint = hint


@dataclass
class Problems:
    """The findings of one file."""

    document: Document
    found: list[Problem] = field(default_factory=list)

    def add(self, place: Place, sentence: str, hint: str = "") -> None:
        """Note one finding."""
        self.found.append(Problem(place, sentence, hint))

    def check(self, model: type[M], node: Node, what: str, place: Place) -> M | None:
        """Validate a part of the file.

        Args:
            model: what it must be.
            node: the part.
            what: what it is called, as in `job 'train'`.
            place: where it is named.

        Returns:
            The validated model, or None when something was noted.
        """
        try:
            return model.model_validate(plain(node))
        except ValidationError as error:
            part = _Part(model, node, what, place)
            errors = error.errors()
            self.found.extend(_translate(part, one) for one in errors if not _is_misspelt(one, errors))
            return None

    def raise_first(self) -> None:
        """Raise the first finding in the file's order; how many others there are stands in the hint.

        Raises:
            ConfigError: there is a finding.
        """
        if not self.found:
            return
        # The same wrong default is found again in every job.
        distinct: dict[Place, Problem] = {}
        for one in self.found:
            distinct.setdefault(one.place, one)
        first, *others = sorted(distinct.values(), key=lambda one: one.place)
        hint = first.hint
        if others:
            more = counted(len(others), "more problem follows", "more problems follow")
            hint = f"{hint}\n{more}." if hint else f"{more}."
        raise self.document.error(first.place, first.sentence, hint)


class _Part(NamedTuple):
    """What is being validated (see Problems.check)."""

    model: type[BaseModel]
    node: Node
    what: str
    place: Place


class _Spot(NamedTuple):
    """What a location of pydantic leads to: the deepest key that stands in the file."""

    name: str
    key: Place
    node: Node


def _locate(part: _Part, loc: tuple[Any, ...]) -> _Spot:
    spot = _Spot("", part.place, part.node)
    for step in loc:
        node = spot.node
        if isinstance(node, Map) and step in node.entries:
            spot = _Spot(str(step), node.entries[step].place, node.entries[step].node)
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node.items):
            spot = _Spot(spot.name, node.items[step].place, node.items[step])
    return spot


def _translate(part: _Part, error: Any) -> Problem:
    loc, kind = error["loc"], error["type"]
    if kind == "missing":
        owner = _locate(part, loc[:-1])
        return Problem(owner.key, f"{_named(part, loc[:-1])} has no `{loc[-1]}`")
    if kind == "extra_forbidden":
        return _unknown_key(part, loc)
    spot = _locate(part, loc)
    if isinstance(spot.node, Leaf) and "${{" in spot.node.text:
        return Problem(spot.node.place, f"${{{{ }}}} may stand in run, setup and env, not in `{spot.name}`")
    cause = (error.get("ctx") or {}).get("error")
    if isinstance(cause, Sentence):
        return Problem(spot.node.place, str(cause), cause.hint)
    text = str(cause) if cause is not None else _TYPES.get(kind, error["msg"])
    if loc and loc[-1] == "[key]":
        return Problem(spot.key, f"a key of {_named(part, loc[:-2])} {text}")
    return Problem(spot.node.place, f"`{spot.name}` {text}" if spot.name else f"{part.what} {text}")


def _is_misspelt(missing: Any, errors: list[Any]) -> bool:
    """Tell whether a missing key is there with a slip in its name: that slip is the finding then."""
    if missing["type"] != "missing":
        return False
    owner, name = missing["loc"][:-1], str(missing["loc"][-1])
    extra = [str(one["loc"][-1]) for one in errors if one["type"] == "extra_forbidden" and one["loc"][:-1] == owner]
    return any(near(key, [name]) for key in extra)


def _unknown_key(part: _Part, loc: tuple[Any, ...]) -> Problem:
    key, place = str(loc[-1]), _locate(part, loc).key
    known = _known_keys(part.model, loc[:-1])
    if "ssh" in known and key.lower() in _PASSWORDS:
        return Problem(
            place, "a password may not stand in a file that is shared and kept", f"Take it out: {NO_PASSWORD}."
        )
    hint = f"Known here: {listed(known, 20)}."
    nearest = "" if key in _OTHER_MEANING else near(key, known)
    return Problem(place, f"unknown key {key[:60]!r} in {_named(part, loc[:-1])}{nearest}", hint)


def _named(part: _Part, loc: tuple[Any, ...]) -> str:
    """Return what a person calls the place a location leads to."""
    if not loc:
        return part.what
    if len(loc) == 2 and loc[0] in ("hosts", "jobs"):
        return f"{loc[0][:-1]} {loc[1]!r}"
    names = [str(step) for step in loc if not isinstance(step, int)]
    return f"an entry of `{names[-1]}`" if isinstance(loc[-1], int) else f"`{names[-1]}`"


def _known_keys(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """Return the keys that may stand where a location leads to."""
    kinds: list[Any] = [model]
    for step in loc:
        inner = [kind.model_fields[step].annotation for kind in kinds if step in kind.model_fields]
        kinds = _models(inner) or kinds
    return [name for kind in kinds for name in kind.model_fields]


def _models(annotations: list[Any]) -> list[Any]:
    found: list[Any] = []
    for one in annotations:
        if isinstance(one, type) and issubclass(one, BaseModel):
            found.append(one)
        else:
            found.extend(_models(list(get_args(one))))
    return found
