"""What other programs print is harmless before it is stored or sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.machine.text import neutralise, one_line


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain \xe6\xa8\xa1", "plain 模"),
        (b"\x1b[1;31mred\x1b[0m\r\n\tx\b", "red\r\n\tx\b"),
        (b"\x1b]0;title\x07a\x1b]8;;u\x1b\\b", "ab"),
        (b"\x1b]0;open\nnext", "\nnext"),
        (b"N\0U\x07L\x7f\xc2\x9b\xff", "NUL\ufffd"),
        ("a\u202eb\u2066c\ufeff\u2028d".encode(), "abc\nd"),
    ],
)
def test_each_kind(raw: bytes, text: str) -> None:
    assert neutralise(raw) == text


def test_one_line_is_short() -> None:
    assert one_line(b"  two\r\nlines \b and\ttabs ") == "two lines and tabs"
    assert one_line(b"x" * 300) == "x" * 199 + "…"
    assert one_line(b"x" * 300, 5) == "xxxx…"


@given(st.binary())
def test_nothing_left_can_move_the_cursor(raw: bytes) -> None:
    for char in neutralise(raw):
        assert char in "\r\n\t\b" or not (char < " " or "\x7f" <= char <= "\x9f")
    assert len(one_line(raw).splitlines()) <= 1
