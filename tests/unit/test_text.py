"""Hostile text is made harmless before it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.text import neutralise


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://192.0.2.1\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x1b(Bx\x1bcy", "xy"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a\u2066b\u2069c\u200fd\ufeffe", "abcde"),
        ("nul\0bell\x07del\x7fc1\x9b", "nulbelldelc1"),
        ("two\nlines\r\nand\ttab\u2028x", "two lines and tab x"),
        ("undecodable \udcff", "undecodable \ufffd"),
        ("模型 训练 ━━ 👩‍🔬", "模型 训练 ━━ 👩‍🔬"),
        ("a lone \x1b", "a lone "),
    ],
)
def test_each_kind_of_hidden_character(raw: str, shown: str) -> None:
    assert neutralise(raw) == shown


def test_lines_and_tabs_stay_when_asked() -> None:
    assert neutralise("a\tb\r\nc\rd\x1b[1m\ne", lines=True) == "a\tb\nc\nd\ne"


def test_an_unterminated_title_does_not_swallow_the_next_line() -> None:
    assert neutralise("\x1b]0;title\nnext", lines=True) == "\nnext"


@given(st.text())
def test_nothing_left_can_move_the_cursor(raw: str) -> None:
    shown = neutralise(raw)
    assert shown.isprintable() or not any(char < " " or "\x7f" <= char <= "\x9f" for char in shown)
    shown.encode("utf-8")
    assert neutralise(shown) == shown
