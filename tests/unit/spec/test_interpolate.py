"""`${{ matrix.key }}`: the shell sees exactly the value, and what names nothing is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.spec.interpolate import fill
from tests.unit.spec.conftest import Load, Refused

# All that a file can hold, but for NUL and halves of surrogate pairs.
VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
ROUGH = st.text(st.sampled_from("a -'\"$`\\!*?[]{}()<>|&;#~=\n\t%训"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUE | ROUGH, min_size=1, max_size=8))
@example(["$(id)", "`id`", "'", "''", "a'b\"c", "", "-n", "\\", "${{ matrix.k0 }}", "a\r\n\n"])
def test_the_shell_sees_exactly_the_values(values: list[str]) -> None:
    cell = {f"k{n}": value for n, value in enumerate(values)}
    words = " ".join(f"${{{{ matrix.k{n} }}}}" for n in range(len(values)))
    script = fill(f"printf '%s\\0' {words} ${{{{matrix.args}}}}", cell, shell=True)
    printed = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout
    named = [f"--k{n}={value}" for n, value in enumerate(values)]
    assert printed.decode().split("\0")[:-1] == [*values, *named]


@given(VALUE | ROUGH)
def test_env_holds_the_value_as_it_is(value: str) -> None:
    assert fill("<${{ matrix.a }}>", {"a": value}, shell=False) == f"<{value}>"


def test_where_references_are_filled_in(load: Load) -> None:
    (job,) = load("""\
jobs:
  t:
    setup: echo ${{ matrix.a }}
    run: |
      python train.py ${{ matrix.args }} --name run-${{matrix.a}}-${{  matrix.b  }}
    env: {NAME: "${{ matrix.a }} of ${{ matrix.b }}"}
    matrix: {a: [1e-4], b: ["x y"]}
""").jobs
    assert job.run == "python train.py --a=1e-4 '--b=x y' --name run-1e-4-'x y'\n"
    assert job.setup is not None and job.setup.run == "echo 1e-4"
    assert job.env["NAME"] == "1e-4 of x y"


def test_a_key_that_a_cell_lacks_is_nothing(load: Load) -> None:
    jobs = load(
        "jobs: {t: {run: 'x ${{ matrix.b }} ${{ matrix.args }}', matrix: {a: [1], include: [{a: 2, b: 3}]}}}\n"
    ).jobs
    assert [job.run for job in jobs] == ["x  --a=1", "x 3 --a=2 --b=3"]


def test_a_value_is_not_filled_in_again() -> None:
    assert fill("${{ matrix.a }}", {"a": "${{ matrix.b }}", "b": "x"}, shell=False) == "${{ matrix.b }}"


def test_what_a_shell_writes_itself_is_left_alone(load: Load) -> None:
    run = "echo ${HOME} $((1 + 2)) ${x:-{}} {{ jinja }} }}"
    assert load(f"jobs:\n  t:\n    run: {run}\n    matrix: {{a: [1]}}\n").jobs[0].run == run


JOB = "jobs:\n  t:\n    matrix: {lr: [1], seed: [2]}\n    "
REFUSED = {
    "a slip": ("run: x ${{ matrix.lrr }}", "4:12: ${{ matrix.lrr }} names nothing; did you mean 'lr'?"),
    "the second one": (
        "run: x ${{ matrix.lr }} ${{ matrix.sed }}",
        "4:29: ${{ matrix.sed }} names nothing; did you mean 'seed'?",
    ),
    "in a block": ("run: |\n      x ${{ matrix.lr }}\n      y ${{ matrix.x }}", "6:9: ${{ matrix.x }} names nothing"),
    "in a folded block": ("run: >-\n      x\n      ${{ matrix.x }}", "6:7: ${{ matrix.x }} names nothing"),
    "in quotes": ("run: 'x ${{ matrix.x }}'", "4:13: ${{ matrix.x }} names nothing"),
    "in setup": ("run: x\n    setup: {run: 'pip ${{ matrix.x }}'}", "5:23: ${{ matrix.x }} names nothing"),
    "in env": ("run: x\n    env: {A: '${{ matrix.x }}'}", "5:15: ${{ matrix.x }} names nothing"),
    "another context": ("run: x ${{ github.sha }}", "4:12: ${{ github.sha }} names nothing"),
    "no context": ("run: x ${{ lr }}", "4:12: ${{ lr }} names nothing"),
    "empty": ("run: x ${{ }}", "4:12: ${{  }} names nothing"),
    "an expression": ("run: x ${{ matrix.lr + 1 }}", "4:12: ${{ matrix.lr + 1 }} names nothing"),
    "not closed": ("run: x ${{ matrix.lr }", "4:12: a ${{ has no }} after it"),
    "in a number": (
        "run: x\n    timeout: ${{ matrix.lr }}",
        "5:14: ${{ }} may stand in run, setup and env, not in `timeout`",
    ),
    "in a list": (
        "run: x\n    outputs: ['${{ matrix.lr }}']",
        "5:16: ${{ }} may stand in run, setup and env, not in `outputs`",
    ),
    "in a path": (
        "run: x\n    code: {dir: '${{ matrix.lr }}'}",
        "5:18: ${{ }} may stand in run, setup and env, not in `dir`",
    ),
    "in setup's files": (
        "run: x\n    setup: {run: y, files: ['${{ matrix.lr }}']}",
        "5:30: ${{ }} may stand in run, setup and env, not in `files`",
    ),
}


@pytest.mark.parametrize(("lines", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(refused: Refused, lines: str, message: str) -> None:
    assert refused(f"{JOB}{lines}\n")[0] == message


def test_without_a_matrix(refused: Refused) -> None:
    message = "3:12: ${{ matrix.lr }} names nothing: the job has no matrix"
    assert refused("jobs:\n  t:\n    run: x ${{ matrix.lr }}\n")[0] == message


def test_in_the_defaults_it_is_told_where_it_stands(refused: Refused) -> None:
    text = "defaults:\n  env: {A: '${{ matrix.x }}'}\njobs:\n  t: {run: x, matrix: {y: [1]}}\n"
    assert refused(text)[0] == "2:13: ${{ matrix.x }} names nothing"


def test_quotes_around_what_is_quoted_already_are_warned_of(load: Load, tmp_path: Path) -> None:
    text = "jobs:\n  t:\n    run: x \"${{ matrix.a }}\" '${{ matrix.b }}'\n    matrix: {a: [1, 'p q'], b: [2]}\n"
    sentence = "the value of ${{ matrix.a }} is quoted already; take the quotes around it away"
    assert load(text).warnings == [f"{tmp_path / 'jobs.yaml'}:3:13: {sentence}"]
