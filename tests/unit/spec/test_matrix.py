"""`matrix`: which combinations there are, and that values stay as they were typed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.spec.matrix import cells
from orchestrator.spec.nodes import Entry, Leaf, Map, Node, Place, Seq
from tests.unit.spec.conftest import Load, Refused

HERE = Place(1, 1)


def params(load: Load, matrix: str) -> list[dict[str, str]]:
    return [dict(job.params) for job in load(f"jobs:\n  t:\n    run: x\n    matrix:\n{matrix}").jobs]


# The example with which GitHub's documentation explains `include`.
FRUIT = """\
      fruit: [apple, pear]
      animal: [cat, dog]
      include:
        - color: green
        - color: pink
          animal: cat
        - fruit: apple
          shape: circle
        - fruit: banana
        - fruit: banana
          animal: cat
"""


def test_include_as_on_github_actions(load: Load) -> None:
    assert params(load, FRUIT) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_include_alone_makes_the_cells(load: Load) -> None:
    text = "      include:\n        - {site: a, datacenter: b}\n        - {site: c}\n"
    assert params(load, text) == [{"site": "a", "datacenter": "b"}, {"site": "c"}]


def test_exclude_as_on_github_actions(load: Load) -> None:
    # A partial match is enough, and all include entries are processed after the exclude entries.
    text = """\
      os: [mac, win]
      version: [12, 14, 16]
      environment: [staging, production]
      exclude:
        - {os: mac, version: 12, environment: production}
        - {os: win, version: 16}
"""
    left = params(load, text)
    assert len(left) == 9
    assert {"os": "mac", "version": "12", "environment": "production"} not in left
    assert not [cell for cell in left if cell["os"] == "win" and cell["version"] == "16"]
    again = params(load, text + "      include:\n        - {os: win, version: 16, environment: staging}\n")
    assert again == [*left, {"os": "win", "version": "16", "environment": "staging"}]


def test_the_last_key_changes_fastest_and_cells_are_numbered(load: Load) -> None:
    jobs = load("jobs: {t: {run: x, matrix: {a: [1, 2], b: [x, y]}}}\n").jobs
    assert [(job.name, *job.params.values()) for job in jobs] == [
        ("t.1", "1", "x"), ("t.2", "1", "y"), ("t.3", "2", "x"), ("t.4", "2", "y"),
    ]  # fmt: skip
    assert [job.name for job in load("jobs: {t: {run: x, matrix: {a: [1]}}}\n").jobs] == ["t.1"]


def test_values_are_the_text_as_typed(load: Load) -> None:
    typed = ["1e-4", "1.0E-4", "010", "3.10", "true", "on", "0x10", "-.5", "~/x"]
    found = params(load, f"      a: [{', '.join(typed)}]\n")
    assert [cell["a"] for cell in found] == typed
    assert [cell["a"] for cell in params(load, "      a: ['', 'a b', \"1\"]\n")] == ["", "a b", "1"]


@pytest.mark.parametrize(
    ("numbers", "values"),
    [
        ("1, 3", "1 2 3"),
        ("0, 10, 5", "0 5 10"),
        ("0, 9, 5", "0 5"),
        ("3, 1, -1", "3 2 1"),
        ("0.1, 0.3, 0.1", "0.1 0.2 0.3"),
        ("1e-4, 3e-4, 1e-4", "0.0001 0.0002 0.0003"),
        ("2, 2", "2"),
        ("-1, 1", "-1 0 1"),
    ],
)
def test_a_range_takes_its_end_in(load: Load, numbers: str, values: str) -> None:
    assert [cell["a"] for cell in params(load, f"      a: {{range: [{numbers}]}}\n")] == values.split()


REFUSED = {
    "an empty map": ("{}", "1:28: the matrix is empty"),
    "an empty list": ("{lr: []}", "1:33: the matrix is empty: `lr` has no value"),
    "all excluded": ("{lr: [1], exclude: [{lr: 1}]}", "1:28: the matrix is empty"),
    "nothing included": ("{include: []}", "1:28: the matrix is empty"),
    "a list": ("[1]", "1:28: `matrix` must be a map, as in {lr: [1e-3, 1e-4]}"),
    "one value": ("{lr: 1}", "1:33: the matrix's `lr` must be a list, as in [1, 2], or {range: [from, to, step]}"),
    "a list in a list": (
        "{lr: [[1]]}",
        "1:34: a value of the matrix's `lr` must be text or a number, not a list or a map",
    ),
    "a value twice": ("{lr: [1, 2, 1]}", "1:40: the matrix's `lr` has the value '1' twice"),
    "no value": ("{lr: [1, ~]}", "1:37: a value of the matrix's `lr` is empty"),
    "a bad key": ("{'a b': [1]}", "1:29: 'a b' cannot be a key of the matrix: it takes letters, digits, _ and -"),
    "args": ("{args: [1]}", "1:29: 'args' cannot be a key of the matrix: all values together are called that"),
    "a reference": ("{a: ['${{ matrix.b }}']}", "1:33: ${{ }} may not stand in the matrix itself"),
    "exclude of nothing": (
        "{lr: [1], exclude: [{lrr: 1}]}",
        "1:48: `exclude` names 'lrr', and that is no key of the matrix; did you mean 'lr'?",
    ),
    "include is a map": ("{include: {a: 1}}", "1:38: `include` must be a list of maps, as in [{lr: 1e-3}]"),
    "include of text": ("{include: [a]}", "1:39: an entry of `include` must be a map, as in {lr: 1e-3}"),
    "range of three": ("{a: {range: [1, 2, 3, 4]}}", "1:40: `range` must be [from, to] or [from, to, step]"),
    "range of words": ("{a: {range: [a, b]}}", "1:41: `range` takes numbers, not 'a'"),
    "range without end": (
        "{a: {range: [1, 3, 0]}}",
        "1:40: `range` never gets from its first number to its second with this step",
    ),
    "range backwards": (
        "{a: {range: [3, 1]}}",
        "1:40: `range` never gets from its first number to its second with this step",
    ),
    "a huge range": ("{a: {range: [1, 1e9]}}", "1:40: `range` has 1,000,000,000 values, and 10,000 is the limit"),
    "range and more": (
        "{a: {range: [1, 2], by: 1}}",
        "1:48: the matrix's `a` must be a list, or {range: [from, to, step]}",
    ),
    "too many cells": (
        "{a: {range: [1, 200]}, b: {range: [1, 200]}}",
        "1:28: the matrix has 40,000 cells, and 10,000 is the limit",
    ),
}


@pytest.mark.parametrize(("matrix", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(refused: Refused, matrix: str, message: str) -> None:
    assert refused(f"jobs: {{t: {{run: x, matrix: {matrix}}}}}\n")[0] == message


def test_many_cells_are_mentioned(load: Load) -> None:
    hundred = load("jobs: {t: {run: x, matrix: {a: {range: [1, 100]}}}}\n")
    assert (len(hundred.jobs), hundred.warnings) == (100, [])
    more = load("jobs: {t: {run: x, matrix: {a: {range: [1, 101]}}}}\n")
    assert [text.split("jobs.yaml:")[1] for text in more.warnings] == ["1:8: t makes 101 jobs"]


VALUES = st.lists(st.text("ab1.-", min_size=1, max_size=3), min_size=1, max_size=4, unique=True)
AXES = st.dictionaries(st.sampled_from(["lr", "seed", "b-1"]), VALUES, min_size=1)


def leaf(text: str) -> Node:
    return Leaf(text, text, HERE)


def a_map(entries: dict[str, Node]) -> Map:
    return Map({key: Entry(HERE, node) for key, node in entries.items()}, HERE)


@given(AXES, st.data())
@settings(max_examples=100, deadline=None)
def test_the_size_is_the_product_less_what_is_excluded(axes: dict[str, list[str]], data: st.DataObject) -> None:
    lists: dict[str, Node] = {key: Seq(tuple(map(leaf, values)), HERE) for key, values in axes.items()}
    every = cells(a_map(lists))
    assert len(every) == math.prod(len(values) for values in axes.values())
    assert len({tuple(cell.items()) for cell in every}) == len(every)
    assert all(list(cell) == list(axes) and all(cell[key] in axes[key] for key in axes) for cell in every)
    # What a new cell is made of stands after all others, and nothing of theirs is changed by it.
    extra = {key: data.draw(st.sampled_from(values)) + "!" for key, values in axes.items()}
    added = a_map({key: leaf(value) for key, value in extra.items()})
    assert cells(a_map({**lists, "include": Seq((added,), HERE)})) == [*every, extra]
    dropped = data.draw(st.sampled_from(every))
    if len(every) > 1:
        gone = a_map({key: leaf(value) for key, value in dropped.items()})
        left = cells(a_map({**lists, "exclude": Seq((gone,), HERE)}))
        assert left == [cell for cell in every if cell != dropped]
