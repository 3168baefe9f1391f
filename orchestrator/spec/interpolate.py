"""`${{ matrix.key }}` in `run`, `setup` and `env`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping

from orchestrator.spec.matrix import ARGS
from orchestrator.spec.nodes import Entry, Leaf, Map, leaves
from orchestrator.spec.problems import Problem, Problems
from orchestrator.spec.words import listed, near

_PATTERN = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"matrix\.([A-Za-z_][A-Za-z0-9_-]*)", re.ASCII)
_MAY_HOLD = ("run", "setup", "env")


def fill(text: str, cell: Mapping[str, str], *, shell: bool) -> str:
    """Return text with every `${{ matrix.key }}` replaced; a key that this cell lacks becomes nothing.

    Args:
        text: checked with `check` before.
        cell: the values of one cell.
        shell: quote values for a shell; else they are put in as they are.
    """

    def value(found: re.Match[str]) -> str:
        key = _NAME.fullmatch(found[1].strip())
        if key is None:
            return found[0]
        if key[1] == ARGS:
            words = [f"--{name}={value}" for name, value in cell.items()]
            return " ".join(shlex.quote(word) if shell else word for word in words)
        if key[1] not in cell:
            return ""
        return shlex.quote(cell[key[1]]) if shell else cell[key[1]]

    return _PATTERN.sub(value, text)


def check(job: Map, known: Collection[str], problems: Problems) -> None:
    """Note every `${{ }}` of a job that names nothing or stands where none is replaced.

    Args:
        job: with the defaults under it.
        known: the keys of its matrix.
        problems: where findings go.
    """
    for name, entry in job.entries.items():
        if name == "matrix":
            continue
        for path, leaf in leaves(entry.node, (name,)):
            if not isinstance(leaf.value, str) or "${{" not in leaf.text:
                continue
            try:
                _check_leaf(path, leaf, known)
            except Problem as problem:
                # A block's own place is its `|`; the key above it is where people look.
                place = _key_of(job, path).place if leaf.block else problem.place
                problems.add(place, problem.sentence, problem.hint)


def _key_of(job: Map, path: tuple[str, ...]) -> Entry:
    entry = job.entries[path[0]]
    for step in path[1:]:
        if isinstance(entry.node, Map) and step in entry.node.entries:
            entry = entry.node.entries[step]
    return entry


def _check_leaf(path: tuple[str, ...], leaf: Leaf, known: Collection[str]) -> None:
    if path[0] not in _MAY_HOLD or path == ("setup", "files"):
        raise Problem(leaf.place, f"${{{{ }}}} may stand in run, setup and env, not in `{path[-1]}`")
    if leaf.text.count("${{") != len(_PATTERN.findall(leaf.text)):
        raise Problem(leaf.place, "a ${{ has no }} after it")
    for inner in _PATTERN.findall(leaf.text):
        shown = f"${{{{ {inner.strip()[:60]} }}}}"
        key = _NAME.fullmatch(inner.strip())
        if key is None:
            what = "Known are ${{ matrix.KEY }} and ${{ matrix.args }}."
            raise Problem(leaf.place, f"{shown} names nothing", what)
        if not known:
            raise Problem(leaf.place, f"{shown} names nothing: the job has no matrix")
        if key[1] not in known and key[1] != ARGS:
            hint = f"The matrix has {listed(known)}."
            raise Problem(leaf.place, f"{shown} names nothing{near(key[1], [*known, ARGS])}", hint)
