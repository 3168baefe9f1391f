"""Names on this computer: readable, possible, and never twice the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fetch.listing import stays_inside
from orchestrator.fetch.names import Layout, encode_part

ANY_NAME = st.binary(min_size=1, max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
PARTS = ANY_NAME.filter(lambda name: "/" not in name and "\0" not in name and name not in (".", ".."))


@pytest.mark.parametrize(
    ("name", "posix", "windows"),
    [
        ("plain.txt", "plain.txt", "plain.txt"),
        ("with space 100%", "with space 100%", "with space 100%"),
        ("12:30?.log", "12:30?.log", "12%3A30%3F.log"),
        ("back\\slash", "back\\slash", "back%5Cslash"),
        ("line\nbreak\x1b[2J", "line%0Abreak%1B[2J", "line%0Abreak%1B[2J"),
        ("trailing.", "trailing.", "trailing%2E"),
        ("blank ", "blank ", "blank%20"),
        ("con.txt", "con.txt", "%63on.txt"),
        ("COM1", "COM1", "%43OM1"),
        ("console", "console", "console"),
        ("caf\udce9", "caf%E9", "caf%E9"),
        ("模型.pt", "模型.pt", "模型.pt"),
        ("\x85", "%C2%85", "%C2%85"),
    ],
)
def test_names(name: str, posix: str, windows: str) -> None:
    assert encode_part(name, windows=False) == posix
    assert encode_part(name, windows=True) == windows


@given(ANY_NAME, st.booleans())
def test_any_name_becomes_one_that_can_be_held(name: str, windows: bool) -> None:
    text = encode_part(name, windows=windows)
    assert text and text not in (".", "..") and "/" not in text
    assert len(text.encode("utf-8")) <= 255
    assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in text)


def test_long_names_stay_apart_and_keep_their_ending() -> None:
    one, two = encode_part("x" * 300 + "1.tar", windows=False), encode_part("x" * 300 + "2.tar", windows=False)
    assert one != two and one.endswith(".tar") and len(one) == 255


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=12), st.booleans())
def test_every_file_gets_a_place_of_its_own(paths: list[str], folds: bool) -> None:
    layout = Layout(windows=folds, folds=folds)
    places = [layout.place(path) for path in paths]
    keys = [unicodedata.normalize("NFC", place).casefold() if folds else place for place in places]
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert not any(other.startswith(key + "/") for other in keys)


def test_case_collisions_are_encoded_where_case_folds() -> None:
    layout = Layout(windows=False, folds=True)
    assert [layout.place(name) for name in ("A.txt", "a.txt", "LOG")] == ["A.txt", "%61.txt", "%4COG"]
    layout = Layout(windows=False, folds=False)
    assert [layout.place(name) for name in ("A.txt", "a.txt")] == ["A.txt", "a.txt"]


@pytest.mark.parametrize(
    ("local", "target", "inside"),
    [
        ("link", "file", True),
        ("link", "d/file", True),
        ("d/link", "../file", True),
        ("link", "..", False),
        ("d/link", "../../file", False),
        ("link", "/etc/passwd", False),
        ("link", "d/../../x", False),
        ("link", "d/../x", False),
        ("link", "C:/x", False),
        ("link", "..\\x", False),
    ],
)
def test_where_a_symlink_may_lead(local: str, target: str, inside: bool) -> None:
    assert stays_inside(local, target) is inside
