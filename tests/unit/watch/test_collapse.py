"""Log bytes become lines as a terminal would leave them, however the bytes arrive."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.watch.collapse import MAX_LINE, LineCollapser

SAMPLES = Path(__file__).parents[2] / "data" / "progress"


def recorded(name: str) -> bytes:
    """Return a recorded log; in .esc files control bytes are written as two characters."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    for word, byte in (("\\r", "\r"), ("\\e", "\x1b"), ("\\b", "\b"), ("\\0", "\0")):
        text = text.replace(word, byte)
    return text.encode()


def lines_of(data: bytes) -> list[str]:
    collapser = LineCollapser()
    return [*collapser.feed(data), *collapser.finish()]


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"no end", ["no end"]),
        (b"\n\na\n", ["", "", "a"]),
        (b"windows\r\nends\r\n", ["windows", "ends"]),
        (b"10%\r20%\r30%\n", ["30%"]),
        (b"\r10%\r20%\rdone", ["done"]),
        (b"a long state\rshort\n", ["short"]),
        (b"|\b/\b-\b\\\n", ["\\"]),
        (b"abc\b\bX\n", ["aXc"]),
        (b"\b\b\bx\n", ["x"]),
        (b"abcdef\r\x1b[Knew\n", ["new"]),
        (b"abcdef\b\b\b\x1b[K\n", ["abc"]),
        (b"abc\x1b[2Kxyz\n", ["xyz"]),
        (b"gone\r\x1b[K\nnext\n", ["next"]),
        (b"bar 8/8\r        \r\nnext\n", ["next"]),
        (b"\x1b[1;31mred\x1b[0m \x1b[38;5;12mblue\n", ["red blue"]),
        (b"\x1b]0;title\x07text\x1b]8;;u\x1b\\link\n", ["textlink"]),
        (b"\x1b]0;never closed\nstill here\n", ["0;never closed", "still here"]),
        (b"\x1b[31\nx\x1b", ["", "x"]),
        (b"N\0U\0L\x07\x0b\n", ["NUL"]),
        ("\u202edesrever\u2066\n".encode(), ["desrever"]),
        (b"bad \xff\xc3( \xe4\xbd\n", ["bad \ufffd\ufffd( \ufffd"]),
        (b"tab\tstays  \n", ["tab\tstays"]),
        ("中文 ━━\n".encode(), ["中文 ━━"]),
    ],
)
def test_each_trick(raw: bytes, lines: list[str]) -> None:
    assert lines_of(raw) == lines


def test_partial_shows_the_line_as_it_looks_now() -> None:
    collapser = LineCollapser()
    assert collapser.feed(b"epoch 1\n 10%|#   |\r 20%|##  |") == ["epoch 1"]
    assert collapser.partial() == " 20%|##  |"
    assert collapser.feed(b"\r") == []
    assert collapser.partial() == " 20%|##  |"
    assert collapser.finish() == [" 20%|##  |"]
    assert collapser.partial() == ""


def test_a_character_cut_in_two_pieces_is_whole() -> None:
    collapser = LineCollapser()
    whole = "模\n".encode()
    assert collapser.feed(whole[:1]) == []
    assert collapser.partial() == ""
    assert collapser.feed(whole[1:]) == ["模"]


def test_a_line_without_end_stays_small() -> None:
    collapser = LineCollapser()
    for _ in range(50):
        assert collapser.feed(b"x" * 4096) == []
    (line,) = collapser.feed(b"\n")
    assert len(line) == MAX_LINE
    assert line.endswith("…")
    assert collapser.feed(b"y" * MAX_LINE + b"\n") == ["y" * MAX_LINE]


def test_an_endless_escape_sequence_is_given_up() -> None:
    collapser = LineCollapser()
    data = b"\x1b]0;" + b"x" * 10_000 + b"\nafter\n"
    lines = [line for at in range(0, len(data), 100) for line in collapser.feed(data[at : at + 100])]
    assert lines[-1] == "after"
    assert lines == lines_of(data)


def test_real_bars_collapse() -> None:
    assert lines_of(recorded("tqdm.esc.txt")) == [
        "Epoch 1/2: 100%|██████████| 40/40 [00:01<00:00, 32.89it/s, loss=0.0323]",
        "Epoch 2/2: 100%|██████████| 40/40 [00:01<00:00, 32.95it/s, loss=0.0141]",
    ]
    keras = lines_of(recorded("keras3.esc.txt"))
    assert keras[0] == "Epoch 1/2"
    assert keras[1].startswith("8/8 ━━━━━━━━━━━━━━━━━━━━ 0s 4ms/step - accuracy: 0.5750")


def test_metrics_between_nested_bars_are_kept() -> None:
    lines = lines_of(recorded("hf-trainer-v5.esc.txt"))
    assert [line[:16] for line in lines if line.startswith("{'loss'")] == [
        "{'loss': '0.6933",
        "{'loss': '0.6928",
        "{'loss': '0.6932",
    ]
    assert "" not in lines


CONTROL = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\b",
        b"\x1b",
        b"\x1b[",
        b"\x1b[K",
        b"\x1b[2K",
        b"\x1b]0;",
        b"\x07",
        b"\x1b\\",
        b"\0",
        b"\xff",
        b"\xe4",
        b"31m",
    ]
)
LOG = st.lists(
    st.one_of(CONTROL, st.binary(max_size=6), st.text(max_size=6).map(lambda text: text.encode("utf-8"))), max_size=40
).map(b"".join)


@given(LOG, st.data())
def test_where_the_bytes_are_cut_changes_nothing(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    collapser = LineCollapser()
    lines: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        lines += collapser.feed(data[start:end])
    assert lines + collapser.finish() == lines_of(data)


@given(LOG)
def test_lines_are_clean(data: bytes) -> None:
    for line in lines_of(data):
        assert len(line) <= MAX_LINE
        assert not any((char < " " and char != "\t") or "\x7f" <= char <= "\x9f" for char in line)
        line.encode("utf-8")
