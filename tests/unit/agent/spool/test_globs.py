from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.spool.globs import compile_glob


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.pt", "a.pt", True),
        ("*.pt", "dir/a.pt", False),
        ("**/*.pt", "dir/deep/a.pt", True),
        ("**/*.pt", "a.pt", True),
        ("runs/**", "runs/a/b", True),
        ("runs/**", "other/a", False),
        ("runs", "runs/a/b", True),
        ("runs/", "runs/a", True),
        ("./runs", "runs/a", True),
        ("runs", "runs2", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "a.txt", True),
        ("[!ab].txt", "a.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("[!a]", "/", False),
        ("[0-9]*", "7x", True),
        ("[9-0]", "5", False),
        ("a[b", "a[b", True),
        ("[]]", "]", True),
        ("a.b", "axb", False),
        ("*", "new\nline", True),
        (".", "any/thing", True),
        ("**", "any/thing", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert (compile_glob(pattern).fullmatch(path) is not None) == matches


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../x", "a/../../x", "~/x"])
def test_patterns_stay_in_the_workdir(pattern: str) -> None:
    with pytest.raises(ValueError):
        compile_glob(pattern)


@given(st.text(alphabet="ab[]!^-*?/.\\&|~{}()+$", max_size=12))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        compiled = compile_glob(pattern)
    except ValueError:
        return
    compiled.fullmatch("a/b")
