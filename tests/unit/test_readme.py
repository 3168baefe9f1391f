"""The READMEs say the same, and what they point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOTH = ("README.md", "README.zh-CN.md")


def blocks(name: str) -> list[str]:
    return re.findall(r"^```\w*\n.*?^```$", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)


def test_commands_and_examples_are_equal() -> None:
    assert blocks(BOTH[0]) == blocks(BOTH[1])


def test_headings_tables_and_lists_have_the_same_shape() -> None:
    def shape(name: str) -> list[str]:
        text = re.sub(r"^```\w*\n.*?^```$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M | re.S)
        return [line[0] for line in text.splitlines() if line[:1] in "#|-!" and line]

    assert shape(BOTH[0]) == shape(BOTH[1])


@pytest.mark.parametrize("name", [*BOTH, *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name} points at {target}"
