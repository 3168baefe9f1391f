"""Reads a YAML 1.2 file into nodes that know their line and column; every way to get it wrong is one sentence."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from orchestrator.errors import ConfigError, UsageError
from orchestrator.spec.nodes import Document, Entry, Leaf, Map, Node, Place, Scalar, Seq, is_null

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
"""Values after aliases are expanded: ten nested aliases of ten would make 10^10."""
MAX_DEPTH = 50

_INT = re.compile(r"[-+]?[0-9]{1,300}")
_BASED = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_CHARACTER = re.compile(r"\\U(?!000|0010)[0-9a-fA-F]{8}")
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def read_document(path: Path, *, may_be_empty: bool = False) -> Document:
    """Read a file.

    Args:
        path: the file.
        may_be_empty: take a file that holds nothing, or only comments, for an empty map.

    Raises:
        ConfigError: it is not UTF-8, too large, or not one YAML map.
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_bytes(data, path, may_be_empty=may_be_empty)


def parse_bytes(data: bytes, path: PurePath, *, may_be_empty: bool = False) -> Document:
    """Read the content of a file.

    Args:
        data: the bytes.
        path: the file's name, for messages.
        may_be_empty: see `read_document`.

    Raises:
        ConfigError: it is not UTF-8, too large, or not one YAML map.
    """
    start = f"{path}:1:1"
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{start}: the file is larger than {MAX_BYTES // 1_000_000} MB")
    for mark, name in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise ConfigError(f"{start}: the file is {name}, and only UTF-8 is read", "Save it as UTF-8.")
    if b"\0" in data[:4]:
        # Every such encoding has a zero beside each plain letter, and a file of keys begins with plain letters.
        raise ConfigError(f"{start}: the file is UTF-16 or UTF-32, and only UTF-8 is read", "Save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The error counts from behind a byte order mark.
        place = _place_of(error.object[: error.start].decode("utf-8", "replace"))
        at = f"{path}:{place.line}:{place.column}"
        raise ConfigError(f"{at}: the file is not UTF-8 text", "Save it as UTF-8.") from None
    return parse_text(text, path, may_be_empty=may_be_empty)


def parse_text(text: str, path: PurePath, *, may_be_empty: bool = False) -> Document:
    """Read text; see `parse_bytes`."""
    blank = Document(path, text, Map({}, Place(1, 1)))
    bad = _NOT_YAML.search(text)
    if bad:
        place = _place_of(text[: bad.start()])
        raise blank.error(place, f"the character U+{ord(bad[0]):04X} may not stand in YAML")
    try:
        root = _Builder(blank).build(YAML(typ="safe", pure=True).parse(io.StringIO(text)))
    except MarkedYAMLError as error:
        raise _yaml_error(blank, error) from None
    except (ValueError, OverflowError):
        # ruamel lets Python's own errors out when an escape such as "\UFFFFFFFF" names no character.
        found = _NO_CHARACTER.search(text)
        place = _place_of(text[: found.start()]) if found else Place(1, 1)
        raise blank.error(place, "this is not YAML: an escape (\\) here names no character") from None
    except YAMLError as error:
        raise blank.error(Place(1, 1), f"this is not YAML: {_one_line(str(error))}") from None
    if root is None and may_be_empty:
        return blank
    if root is None or is_null(root):
        raise blank.error(Place(1, 1), "the file is empty")
    if not isinstance(root, Map):
        raise blank.error(root.place, "the file must be a map of keys, as in `jobs:`")
    return Document(path, text, root)


def _place_of(before: str) -> Place:
    lines = re.split("\r\n|\r|\n", before.removeprefix("\ufeff"))
    return Place(len(lines), len(lines[-1]) + 1)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _yaml_error(document: Document, error: MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    problem = str(error.problem or error.context or error)
    lines = document.text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if r"'\t'" in problem or "\t" in line[: place.column]:
        return document.error(place, "a tab stands here, and YAML is indented with spaces", "Replace tabs by spaces.")
    hint = ""
    if "${{" in line:
        hint = "In {…} and […] a text with ${{ }} must stand in quotes."
    elif "mapping values are not allowed" in problem:
        hint = "A text with `: ` in it must stand in quotes, or in a block after `|`."
    began = error.context_mark
    if error.context and began is not None and began.line + 1 != place.line:
        problem = f"{problem} ({error.context} that begins in line {began.line + 1})"
    return document.error(place, f"this is not YAML: {_one_line(problem)}", hint)


def _resolve(text: str) -> Scalar:
    """Return the value of a plain scalar by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _INF.fullmatch(text) else text


@dataclass
class _Open:
    """A list or map that is being read."""

    place: Place
    is_map: bool
    anchor: str | None
    entries: dict[str, Entry] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: tuple[str, Place] | None = None
    nodes: int = 1
    depth: int = 1


class _Builder:
    """Turns the parser's events into nodes, without recursion."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._open_anchors: set[str] = set()
        self._root: Node | None = None
        self._documents = 0
        self._nodes = 0

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            kind = type(event).__name__
            handler = getattr(self, f"_on_{kind.removesuffix('Event').lower()}", None)
            if handler is not None:
                handler(event, Place(event.start_mark.line + 1, event.start_mark.column + 1))
        return self._root

    def _fail(self, place: Place, sentence: str, hint: str = "") -> NoReturn:
        raise self._document.error(place, sentence, hint)

    def _on_documentstart(self, event: Any, place: Place) -> None:
        self._documents += 1
        if self._documents > 1:
            self._fail(place, "a second document begins here, and one file holds one")
        if event.version is not None and tuple(event.version) != (1, 2):
            self._fail(place, "this file asks for another YAML than 1.2", "Take the %YAML line out.")

    def _on_scalar(self, event: Any, place: Place) -> None:
        self._no_tag(event, place)
        text: str = event.value
        if _UNUSABLE.search(text):
            self._fail(place, "a NUL or half a surrogate pair stands in this text")
        block = event.style in ("|", ">")
        value = _resolve(text) if event.implicit[0] else text
        if self._stack and self._stack[-1].is_map and self._stack[-1].key is None:
            self._take_key(self._stack[-1], text if value is not None else "", place, event.anchor)
            return
        node = Leaf(value, text, place, block)
        self._remember(event.anchor, node, 1, 0)
        self._add(node, 1, 0, place)

    def _take_key(self, parent: _Open, text: str, place: Place, anchor: str | None) -> None:
        if anchor:
            self._fail(place, "an anchor (&) may not stand before a key")
        if not text:
            self._fail(place, "a key is empty here")
        if text == "<<":
            self._fail(place, "merge keys (<<) are not known here", "Put what jobs have in common under `defaults:`.")
        if text in parent.entries:
            first = parent.entries[text].place
            self._fail(place, f"the key {text!r} stands here twice; the first is in line {first.line}")
        parent.key = (text, place)

    def _on_alias(self, event: Any, place: Place) -> None:
        if self._stack and self._stack[-1].is_map and self._stack[-1].key is None:
            self._fail(place, "an alias (*) may not be a key")
        if event.anchor in self._open_anchors:
            self._fail(place, f"the alias *{event.anchor} stands inside of what it names")
        if event.anchor not in self._anchors:
            self._fail(place, f"the alias *{event.anchor} names no anchor above it")
        node, nodes, depth = self._anchors[event.anchor]
        self._add(node, nodes, depth, place)

    def _on_sequencestart(self, event: Any, place: Place) -> None:
        self._begin(event, place, is_map=False)

    def _on_mappingstart(self, event: Any, place: Place) -> None:
        self._begin(event, place, is_map=True)

    def _begin(self, event: Any, place: Place, *, is_map: bool) -> None:
        self._no_tag(event, place)
        if self._stack and self._stack[-1].is_map and self._stack[-1].key is None:
            self._fail(place, "a key must be a word, not a list or a map")
        if len(self._stack) >= MAX_DEPTH:
            self._fail(place, f"lists and maps are nested deeper than {MAX_DEPTH} here")
        if event.anchor:
            self._open_anchors.add(event.anchor)
        self._stack.append(_Open(place, is_map, event.anchor))

    def _on_sequenceend(self, event: Any, place: Place) -> None:
        done = self._stack.pop()
        self._end(done, Seq(tuple(done.items), done.place))

    def _on_mappingend(self, event: Any, place: Place) -> None:
        done = self._stack.pop()
        self._end(done, Map(done.entries, done.place))

    def _end(self, done: _Open, node: Node) -> None:
        if done.anchor:
            self._open_anchors.discard(done.anchor)
        self._remember(done.anchor, node, done.nodes, done.depth)
        self._add(node, done.nodes, done.depth, done.place)

    def _remember(self, anchor: str | None, node: Node, nodes: int, depth: int) -> None:
        if anchor:
            self._anchors[anchor] = (node, nodes, depth)

    def _add(self, node: Node, nodes: int, depth: int, place: Place) -> None:
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.nodes += nodes
        parent.depth = max(parent.depth, depth + 1)
        if parent.nodes > MAX_NODES:
            self._fail(place, f"the file unfolds to more than {MAX_NODES:,} values here")
        if len(self._stack) + depth > MAX_DEPTH:
            self._fail(place, f"lists and maps are nested deeper than {MAX_DEPTH} here")
        if parent.is_map:
            assert parent.key is not None
            name, where = parent.key
            parent.entries[name] = Entry(where, node)
            parent.key = None
        else:
            parent.items.append(node)

    def _no_tag(self, event: Any, place: Place) -> None:
        tag = event.tag
        if tag and tag != "!":
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")[:60]
            self._fail(place, f"the tag {shown} is not allowed here", "Write the value plainly, or in quotes for text.")
