"""Every dependency stands in docs/dependencies.md, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([A-Za-z0-9._-]+)` \|", re.MULTILINE)


def _declared() -> list[str]:
    """Names in pyproject.toml's build, dependencies and extras (by pattern: tomllib came with Python 3.11 only)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    build, rest = text.split("[project]", 1)
    project = rest[rest.index("dependencies = [") : rest.index("[project.scripts]")]
    return sorted(re.findall(r'"([A-Za-z0-9._-]+)[<>=!~]', build + project))


def test_every_dependency_is_explained() -> None:
    declared = _declared()
    assert {"fabric", "torch", "hypothesis", "hatchling"} <= set(declared)
    explained = ROW.findall((ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"))
    assert sorted(explained) == declared
