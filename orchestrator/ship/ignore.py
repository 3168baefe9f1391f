"""Which paths of a code folder stay behind, and by which rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.ship.wildmatch import Line, parse

GIT = ".git"
BUILT_IN = (
    GIT,
    ".venv",
    "venv",
    "__pycache__",
    ".ipynb_checkpoints",
    "wandb",
    ".idea",
    ".vscode",
    "*.pyc",
)
GITIGNORE = ".gitignore"
ORCHIGNORE = ".orchignore"
MAX_IGNORE_FILE = 4 * 1024 * 1024
"""Bytes; a longer .gitignore is not one."""


def compile_text(regex: str) -> re.Pattern[str]:
    """Compile an expression whose dot also stands for a line break (names may hold one)."""
    return re.compile(regex, re.DOTALL)


@dataclass(frozen=True)
class Verdict:
    """What the last matching rule says about a path."""

    ignored: bool
    rule: str
    built_in: bool = False


class Rules:
    """The patterns of one place (a file or a list), relative to one folder.

    Args:
        lines: patterns, the last one that matches wins.
        label: what people read, e.g. "sub/.gitignore".
        base: the folder they are relative to, "" or e.g. "sub/".
        above: for a folder over the root, what stands between it and the root, e.g. "exp/".
    """

    def __init__(self, lines: Iterable[str], label: str, base: str = "", above: str = "") -> None:
        self.lines = [line for line in map(parse, lines) if line]
        self.label = label
        self._base = len(base)
        self.above = above
        self._compiled = [(line, compile_text(line.regex)) for line in reversed(self.lines)]
        self._any_name = _any(line for line in self.lines if line.by_name)
        self._any_path = _any(line for line in self.lines if not line.by_name)

    def check(self, path: str, name: str, folder: bool) -> Line | None:
        """Return the last pattern that matches a path of the tree (its last part is `name`), or None."""
        return self.match(self.above + path[self._base :], name, folder)

    def match(self, rest: str, name: str, folder: bool) -> Line | None:
        """Like `check`, for a path relative to the folder the rules belong to."""
        if not self._hit(self._any_name, name) and not self._hit(self._any_path, rest):
            return None
        for line, regex in self._compiled:
            if line.folders_only and not folder:
                continue
            if regex.fullmatch(name if line.by_name else rest):
                return line
        return None

    @staticmethod
    def _hit(regex: re.Pattern[str] | None, text: str) -> bool:
        return regex is not None and regex.fullmatch(text) is not None


def _any(lines: Iterable[Line]) -> re.Pattern[str] | None:
    parts = [f"(?:{line.regex})" for line in lines]
    return compile_text("|".join(parts)) if parts else None


def read_rules(path: Path, label: str, base: str = "", above: str = "") -> Rules | None:
    """Return the rules of an ignore file, None when it is not there, not a file, unreadable or absurdly long."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_IGNORE_FILE:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    rules = Rules(text.split("\n"), label, base, above)
    return rules if rules.lines else None


@dataclass(frozen=True)
class Level:
    """The ignore files in force in one folder, outermost first."""

    git: tuple[Rules, ...] = ()
    orch: tuple[Rules, ...] = ()

    def enter(self, folder: Path, base: str, names: Iterable[str]) -> Level:
        """Return the level of a folder: this one, and the ignore files that it holds itself."""
        level = self
        for name in names:
            rules = read_rules(folder / name, base + name, base)
            if rules and name == GITIGNORE:
                level = Level((*level.git, rules), level.orch)
            elif rules:
                level = Level(level.git, (*level.orch, rules))
        return level


@dataclass
class Ignore:
    """All rules of one scan.

    Args:
        ignore: `code.ignore`.
        include: `code.include`; brings back, even out of folders that are left out.
        results: the results folder relative to the root, or None when it is not inside.
        state: the same for orch's own state; nothing brings it back.
    """

    ignore: Sequence[str]
    include: Sequence[str]
    results: str | None
    state: str | None = None
    _built_in: Rules = field(init=False)
    _own: Rules = field(init=False)
    _include: Rules = field(init=False)

    def __post_init__(self) -> None:
        self._built_in = Rules(BUILT_IN, "built in")
        self._own = Rules(self.ignore, "code.ignore")
        self._include = Rules(self.include, "code.include")

    def check(self, level: Level, path: str, folder: bool, *, included: bool) -> Verdict | None:
        """Say whether a path is left out; None = no rule speaks of it.

        Whitelists (`*`, then `!*/` and `!*.py`) mean no `.venv` by their `!*/`, so that does not undo a built-in rule;
        and nothing but `include` brings `.git` along.

        Args:
            included: `include` named a folder it lies in; then ignore files have no say any more.
        """
        if self.state and (path == self.state or path.startswith(self.state + "/")):
            return Verdict(True, "orch's own state", built_in=True)
        name = path.rpartition("/")[2]
        line = self._include.check(path, name, folder)
        if line and (included or not line.negated):
            return Verdict(line.negated, f"code.include: {line.text}")
        if folder and path == self.results:
            return Verdict(True, "results folder", built_in=True)
        built_in = self._built_in.check(path, name, folder)
        sources = (self._own,) if included else (self._own, *reversed(level.orch), *reversed(level.git))
        for rules in sources:
            line = rules.check(path, name, folder)
            if line and built_in and line.negated and (name == GIT or line.segments[-1].strip("*") == ""):
                break
            if line:
                return Verdict(not line.negated, f"{rules.label}: {line.text}")
        return Verdict(True, f"built in: {built_in.text}", built_in=True) if built_in else None

    def names(self, path: str, folder: bool) -> bool:
        """Whether `include` names this very path."""
        line = self._include.check(path, path.rpartition("/")[2], folder)
        return line is not None and not line.negated

    def may_hold(self, folder: str, *, built_in: bool) -> bool:
        """Whether `include` could name something below a folder that is left out.

        A pattern without a path (`*.so`) does not reach into folders that are left out by a built-in rule: nobody who
        writes it means all of `.venv`.
        """
        parts = folder.split("/")
        for line in self._include.lines:
            if line.negated:
                continue
            floating = line.by_name or line.segments[0] == "**"
            if (floating and not built_in) or (not floating and _leads_into(line.segments, parts)):
                return True
        return False


def _leads_into(segments: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the first parts of a pattern fit a folder and some of the pattern is left for what lies below."""
    for index, part in enumerate(parts):
        if index >= len(segments):
            return False
        if "**" in segments[index]:
            return True
        line = parse("/" + segments[index])
        if line is None or not compile_text(line.regex).fullmatch(part):
            return False
    return len(segments) > len(parts)


def rules_above(root: Path) -> Level:
    """Return the .gitignore files between the repository's top and the root, outermost first.

    They have no say when they leave out the root itself: somebody who submits a folder means it.
    """
    found: list[Rules] = []
    above = ""
    for folder in (root, *root.parents):
        if folder != root:
            rules = read_rules(folder / GITIGNORE, f"{folder.name}/{GITIGNORE}", above=above)
            if rules:
                found.append(rules)
        if (folder / ".git").exists():
            break
        above = f"{folder.name}/{above}"
    else:
        return Level()
    return Level() if _root_ignored(found) else Level(tuple(reversed(found)))


def _root_ignored(found: Sequence[Rules]) -> bool:
    for rules in found:
        parts = rules.above.rstrip("/").split("/")
        for index in range(len(parts)):
            line = rules.match("/".join(parts[: index + 1]), parts[index], folder=True)
            if line and not line.negated:
                return True
    return False
