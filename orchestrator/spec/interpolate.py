"""`${{ matrix.key }}` in `run`, `setup` and `env`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from orchestrator.spec.matrix import ARGS
from orchestrator.spec.nodes import Document, Leaf, Map, leaves
from orchestrator.spec.problems import Problems
from orchestrator.spec.words import listed, near

_PATTERN = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"matrix\.([A-Za-z_][A-Za-z0-9_-]*)", re.ASCII)
_QUOTED = re.compile(r"""(["'])\$\{\{[^}]*\}\}\1""")
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
            wrong = _wrong(path, leaf, known)
            if wrong:
                nth, sentence, hint = wrong
                # In a block or a long text, the place of the reference itself is where people look.
                place = problems.document.find("${{", leaf.place, nth) or leaf.place
                problems.add(place, sentence, hint)


def quoted_twice(job: Map, cells: Sequence[Mapping[str, str]], document: Document) -> list[str]:
    """Return a warning for every reference with quotes around it whose value is quoted too: the two undo each other.

    Args:
        job: with the defaults under it.
        cells: of its matrix.
        document: the file.
    """
    found = []
    for name in ("run", "setup"):
        for path, leaf in leaves(job.entries[name].node, (name,)) if name in job.entries else ():
            if path == ("setup", "files"):
                continue
            for match in _QUOTED.finditer(leaf.text):
                reference = match[0][1:-1]
                if all(fill(reference, cell, shell=True) == fill(reference, cell, shell=False) for cell in cells):
                    continue
                nth = leaf.text.count("${{", 0, match.start())
                at = document.at(document.find("${{", leaf.place, nth) or leaf.place)
                found.append(f"{at}: the value of {reference} is quoted already; take the quotes around it away")
    return found


def _wrong(path: tuple[str, ...], leaf: Leaf, known: Collection[str]) -> tuple[int, str, str] | None:
    """Return what is wrong with the first bad reference of a text: (which one it is, sentence, hint)."""
    if path[0] not in _MAY_HOLD or path == ("setup", "files"):
        return 0, f"${{{{ }}}} may stand in run, setup and env, not in `{path[-1]}`", ""
    for nth, piece in enumerate(leaf.text.split("${{")[1:]):
        inner, closed, _ = piece.partition("}}")
        if not closed:
            return nth, "a ${{ has no }} after it", ""
        shown = f"${{{{ {' '.join(inner.split())[:60]} }}}}"
        key = _NAME.fullmatch(inner.strip())
        if key is None:
            return nth, f"{shown} names nothing", "Known are ${{ matrix.KEY }} and ${{ matrix.args }}."
        if not known:
            return nth, f"{shown} names nothing: the job has no matrix", ""
        if key[1] not in known and key[1] != ARGS:
            return nth, f"{shown} names nothing{near(key[1], [*known, ARGS])}", f"The matrix has {listed(known)}."
    return None
