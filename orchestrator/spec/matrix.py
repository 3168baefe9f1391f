"""`matrix`: its cells, as on GitHub Actions, with values as typed."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from orchestrator.spec.nodes import Leaf, Map, Node, Place, Seq, is_null
from orchestrator.spec.problems import Problem
from orchestrator.spec.words import near

MAX_CELLS = 10_000
ASK_ABOVE = 100
"""More cells than this are mentioned, and the command line asks first."""

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}", re.ASCII)
ARGS = "args"
_EXTRA = ("include", "exclude")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)

Cell = dict[str, str]


def cells(matrix: Map) -> list[Cell]:
    """Return the combinations, each {key: value as typed}, the last key changing fastest.

    As on GitHub Actions: `exclude` drops the combinations that match all its keys; then each `include` is added to
    every combination it would not change, and makes one of its own where there is none.

    Raises:
        Problem: a key or value that cannot be, nothing left, or more than MAX_CELLS.
    """
    axes = {key: _values(key, entry.node) for key, entry in matrix.entries.items() if key not in _EXTRA}
    for key, entry in matrix.entries.items():
        if key not in _EXTRA:
            _check_key(key, entry.place)
    size = math.prod(len(values) for values in axes.values()) if axes else 0
    if size > MAX_CELLS:
        raise Problem(matrix.place, f"the matrix has {size:,} cells, and {MAX_CELLS:,} is the limit")
    found = [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())] if axes else []
    for place, dropped in _extra(matrix, "exclude"):
        for key in dropped:
            if key not in axes:
                raise Problem(place, f"`exclude` names {key!r}, and that is no key of the matrix{near(key, axes)}")
        found = [cell for cell in found if any(cell[key] != value for key, value in dropped.items())]
    found = _include(found, [added for _, added in _extra(matrix, "include")], frozenset(axes))
    if not found:
        raise Problem(matrix.place, "the matrix is empty", "Give its keys values, or leave `matrix` out.")
    return found


def _check_key(key: str, place: Place) -> None:
    if not KEY.fullmatch(key) or key == ARGS:
        why = "all values together are called that" if key == ARGS else "it takes letters, digits, _ and -"
        raise Problem(place, f"{key[:60]!r} cannot be a key of the matrix: {why}")


def _include(originals: list[Cell], entries: list[Cell], axes: frozenset[str]) -> list[Cell]:
    cells = [dict(cell) for cell in originals]
    new: list[Cell] = []
    for entry in entries:
        fixed = {key: value for key, value in entry.items() if key in axes}
        fitting = [cell for cell in cells if all(cell[key] == value for key, value in fixed.items())]
        for cell in fitting:
            cell.update(entry)
        if not fitting:
            new.append(dict(entry))
    return cells + new


def _extra(matrix: Map, name: str) -> Iterator[tuple[Place, Cell]]:
    entry = matrix.entries.get(name)
    if entry is None or is_null(entry.node):
        return
    if not isinstance(entry.node, Seq):
        raise Problem(entry.node.place, f"`{name}` must be a list of maps, as in [{{lr: 1e-3}}]")
    for item in entry.node.items:
        if not isinstance(item, Map) or not item.entries:
            raise Problem(item.place, f"an entry of `{name}` must be a map, as in {{lr: 1e-3}}")
        for key, inner in item.entries.items():
            _check_key(key, inner.place)
        yield item.place, {key: _text(key, inner.node) for key, inner in item.entries.items()}


def _values(key: str, node: Node) -> list[str]:
    if isinstance(node, Map):
        return _range(key, node)
    if not isinstance(node, Seq):
        raise Problem(node.place, f"the matrix's `{key}` must be a list, as in [1, 2], or {{range: [from, to, step]}}")
    if not node.items:
        raise Problem(node.place, f"the matrix is empty: `{key}` has no value", "Give it one, or leave the key out.")
    values = [_text(key, item) for item in node.items]
    for index, value in enumerate(values):
        if value in values[:index]:
            raise Problem(node.items[index].place, f"the matrix's `{key}` has the value {value[:60]!r} twice")
    return values


def _text(key: str, node: Node) -> str:
    if not isinstance(node, Leaf):
        raise Problem(node.place, f"a value of the matrix's `{key}` must be text or a number, not a list or a map")
    if node.value is None:
        raise Problem(node.place, f"a value of the matrix's `{key}` is empty", "Write '' for an empty text.")
    if "${{" in node.text:
        raise Problem(node.place, "${{ }} may not stand in the matrix itself")
    return node.text


def _range(key: str, node: Map) -> list[str]:
    entry = node.entries.get("range")
    if entry is None or len(node.entries) != 1:
        place = next((e.place for name, e in node.entries.items() if name != "range"), node.place)
        raise Problem(place, f"the matrix's `{key}` must be a list, or {{range: [from, to, step]}}")
    items = entry.node.items if isinstance(entry.node, Seq) else ()
    if len(items) not in (2, 3):
        raise Problem(entry.node.place, "`range` must be [from, to] or [from, to, step]")
    first, last, *rest = [_number(item) for item in items]
    step = rest[0] if rest else Decimal(1)
    if step == 0 or (last - first) * step < 0:
        raise Problem(entry.node.place, "`range` never gets from its first number to its second with this step")
    count = int((last - first) / step) + 1
    if count > MAX_CELLS:
        raise Problem(entry.node.place, f"`range` has {count:,} values, and {MAX_CELLS:,} is the limit")
    return [_shown(first + index * step) for index in range(count)]


def _number(node: Node) -> Decimal:
    text = node.text if isinstance(node, Leaf) else ""
    try:
        if _NUMBER.fullmatch(text):
            number = Decimal(text)
            if abs(number.adjusted()) <= 30 or number == 0:
                return number
    except InvalidOperation:
        pass
    raise Problem(node.place, f"`range` takes numbers, not {text[:40]!r}")


def _shown(number: Decimal) -> str:
    return format(number.normalize(), "f") if number else "0"
