"""The pictures in README: there, whole, and of no machine in particular."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.harness.cli import Laptop
from tests.harness.terminal import Terminal
from tools.pictures import draw

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
CHARACTER = 20 * 0.61
"""How wide rich draws one."""
SHOWN = {
    "submit": ["$ orch submit", "code: ", "queued on box", "train.1", "epoch 3/3", "SUCCEEDED", "results/s-"],
    "status": ["$ orch status", "box", "RUNNING", "PENDING", "epoch ", "waiting for a free CPU slot"],
}


def text_of(picture: Path) -> str:
    """What stands in a picture, row by row; blanks between words are no text in it but room."""
    rows: dict[str, str] = {}
    for element in ElementTree.parse(picture).getroot().iter(f"{SVG}text"):
        words = (element.text or "").rstrip("\n").replace("\xa0", " ")
        if words:
            y, column = element.get("y", ""), round(float(element.get("x", "0")) / CHARACTER)
            rows[y] = rows.get(y, "").ljust(column) + words
    return "\n".join(rows.values())


@pytest.mark.parametrize("name", SHOWN)
def test_each_shows_its_command_and_nothing_of_the_machine_it_was_made_on(name: str) -> None:
    picture = ROOT / "docs" / "pictures" / f"{name}.svg"
    assert ElementTree.parse(picture).getroot().tag == f"{SVG}svg"
    text = text_of(picture)
    for words in SHOWN[name]:
        assert words in text
    # "test loss / accuracy" would be fine; /tmp/x, ~/x and C:\x are not.
    assert re.findall(r"(?<![\w.])(?:~|[A-Za-z]:)?[/\\][\w.-]+", text) == []
    assert not re.search(r"\b\d+\.\d+\.\d+\.\d+\b|\w@\w", text)
    source = picture.read_text(encoding="utf-8")
    assert "url(http" not in source.replace('"', "").replace("'", ""), "it loads nothing from elsewhere"
    for readme in ("README.md", "README.zh-CN.md"):
        assert f"](docs/pictures/{name}.svg)" in (ROOT / readme).read_text(encoding="utf-8")


def test_a_terminal_is_drawn_as_it_looks(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "project")
    words = ["printf", r"plain \033[31mred\033[0m <&> \033[1;38;5;208mbold\033[0m│\n\nlast\n"]
    with Terminal(laptop, argv=words) as terminal:
        assert terminal.wait() == 0
        draw("orch demo", terminal, tmp_path / "pictures" / "x.svg")
    assert text_of(tmp_path / "pictures" / "x.svg").split("\n") == ["$ orch demo", "plain red <&> bold│", "last"]
    source = (tmp_path / "pictures" / "x.svg").read_text(encoding="utf-8")
    (red,) = re.findall(r"\.(\S+) \{ fill: #e06c75", source)
    assert re.search(rf'<text class="{red}"[^>]*>red</text>', source)
