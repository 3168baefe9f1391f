"""What the loader reads: plain values that still know where they stand and how they were typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from orchestrator.errors import ConfigError


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Leaf:
    """A single value.

    Args:
        value: by YAML 1.2's core rules.
        text: as typed (1e-4, 010 and 3.10 stay that), without quotes.
        place: where it begins.
        block: a block of lines (`|` or `>`).
    """

    value: Scalar
    text: str
    place: Place
    block: bool = False


@dataclass(frozen=True)
class Seq:
    """A list."""

    items: tuple[Node, ...]
    place: Place


class Entry(NamedTuple):
    """One key of a map: where the key stands, and its value."""

    place: Place
    node: Node


@dataclass(frozen=True)
class Map:
    """A map, in the file's order."""

    entries: Mapping[str, Entry]
    place: Place


Node = Leaf | Seq | Map


class TypedInt(int):
    """A whole number that remembers how it was typed."""

    text: str


class TypedFloat(float):
    """A number that remembers how it was typed."""

    text: str


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Args:
        path: the file as the person named it.
        text: its content.
        root: its outermost map.
    """

    path: PurePath
    text: str
    root: Map

    def find(self, text: str, place: Place, nth: int) -> Place | None:
        """Return where some text stands for the nth time (from 0) at a place or after it; None = nowhere."""
        lines = self.text.splitlines(keepends=True)
        start = sum(len(line) for line in lines[: place.line - 1]) + place.column - 1
        for _ in range(nth + 1):
            start = self.text.find(text, start) + 1
            if not start:
                return None
        lines = self.text[:start].splitlines()
        return Place(len(lines), len(lines[-1]))

    def at(self, place: Place) -> str:
        """Return `file:line:column`."""
        return f"{self.path}:{place.line}:{place.column}"

    def error(self, place: Place, sentence: str, hint: str = "") -> ConfigError:
        """Return the error of one place."""
        return ConfigError(f"{self.at(place)}: {sentence}", hint)


def plain(node: Node) -> Any:
    """Return dictionaries, lists and values; numbers are TypedInt and TypedFloat, keys set to null are left out."""
    if isinstance(node, Map):
        return {key: plain(entry.node) for key, entry in node.entries.items() if not is_null(entry.node)}
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return node.value
    number = TypedInt(node.value) if isinstance(node.value, int) else TypedFloat(node.value)
    number.text = node.text
    return number


def is_null(node: Node) -> bool:
    """Tell whether nothing was written (`null`, `~` or an empty value)."""
    return isinstance(node, Leaf) and node.value is None


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Yield every single value with the keys that lead to it (places in lists are not counted)."""
    if isinstance(node, Leaf):
        yield path, node
    elif isinstance(node, Seq):
        for item in node.items:
            yield from leaves(item, path)
    else:
        for key, entry in node.entries.items():
            yield from leaves(entry.node, (*path, key))


def merge(base: Map, over: Map, whole: tuple[str, ...] = ()) -> Map:
    """Lay one map over another: maps by key, everything else replaced, `null` clears.

    Args:
        base: the defaults.
        over: what wins.
        whole: keys of the outermost map that are replaced although both sides are maps.
    """
    entries = {key: entry for key, entry in base.entries.items() if not is_null(entry.node)}
    for key, entry in over.entries.items():
        before = entries.get(key)
        if is_null(entry.node):
            entries.pop(key, None)
        elif before and isinstance(before.node, Map) and isinstance(entry.node, Map) and key not in whole:
            entries[key] = Entry(entry.place, merge(before.node, entry.node))
        else:
            entries[key] = entry
    return Map(entries, over.place)
