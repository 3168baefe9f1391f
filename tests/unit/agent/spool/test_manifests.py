"""No manifest that is let pass can write outside its folder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.spool import manifests
from remote_payload.agent.spool.manifests import canonical, check_manifest, check_path, manifest_id, path_bytes

SHA = "a" * 64


def file(path: Any, **other: Any) -> dict[str, Any]:
    return {"p": path, "t": "f", "x": False, "s": 1, "h": SHA, **other}


def link(path: str, to: Any = "x") -> dict[str, Any]:
    return {"p": path, "t": "l", "to": to}


def folder(path: str) -> dict[str, Any]:
    return {"p": path, "t": "d"}


def manifest(*entries: Any) -> dict[str, Any]:
    return {"version": 1, "entries": list(entries)}


def test_good_ones_pass() -> None:
    check_manifest(manifest())
    check_manifest(
        manifest(
            file("a b/c\nd\\e"),
            file("..a/...", x=True, s=0),
            link("a b/up", "../../anywhere"),
            folder("empty/one"),
            file("caf\udce9"),
            folder("a b"),
            file("later", **{"new field": 1}),
        )
    )


PATHS: list[Any] = ["/a", "..", "a/..", "a/../b", ".", "./a", "a/./b", "a//b", "a/", "", "a\0b", 1, None]
BAD: list[Any] = [
    None,
    [],
    {"version": 1},
    {"version": 2, "entries": []},
    {"version": True, "entries": []},
    {"version": 1, "entries": {}},
    manifest(None),
    manifest({"t": "f"}),
    *(manifest(file(path)) for path in PATHS),
    manifest(file("x" * 5000)),
    manifest(file("\ud800")),
    manifest(file("a", t="x")),
    manifest(file("a", t=[])),
    manifest(file("a", x=1)),
    manifest(file("a", s=-1)),
    manifest(file("a", s=True)),
    manifest(file("a", s=1.0)),
    manifest(file("a", s=1 << 60)),
    manifest(file("a", h="A" * 64)),
    manifest(file("a", h=SHA + "\n")),
    manifest(file("a", h=None)),
    manifest({"p": "a", "t": "f", "x": False, "s": 1}),
    manifest(link("a", "")),
    manifest(link("a", None)),
    manifest(link("a", "b\0")),
    manifest(link("a", "\ud800")),
    manifest(file("a"), file("a")),
    manifest(file("a"), folder("a")),
    manifest(file("a"), file("a/b")),
    manifest(file("a/b/c"), link("a")),
    manifest(link("a"), folder("a/b/c/d")),
    manifest(file("a/b/c/d"), file("a/b/e"), file("a/b")),
]


@pytest.mark.parametrize("bad", BAD)
def test_bad_ones_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError):
        check_manifest(bad)


def test_the_path_is_named() -> None:
    with pytest.raises(ValueError, match=r"'\.\.' in path: 'deep/\.\./x'"):
        check_manifest(manifest(file("deep/../x")))


def test_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_ENTRIES", 1)
    with pytest.raises(ValueError, match="2 entries"):
        check_manifest(manifest(file("a"), file("b")))


PARTS = st.one_of(st.sampled_from(["a", "b", "..", ".", "", "a\\b"]), st.text(max_size=4))


@given(st.lists(st.tuples(st.sampled_from("fld"), st.lists(PARTS, max_size=4).map("/".join)), max_size=6))
def test_what_passes_stays_inside_and_does_not_clash(rows: list[Any]) -> None:
    entries = [file(path) if kind == "f" else link(path) if kind == "l" else folder(path) for kind, path in rows]
    try:
        check_manifest(manifest(*entries))
    except ValueError:
        return
    leaves = {entry["p"] for entry in entries if entry["t"] != "d"}
    for entry in entries:
        parts = entry["p"].split("/")
        assert not {"", ".", ".."} & set(parts) and "\0" not in entry["p"]
        assert not {"/".join(parts[:count]) for count in range(1, len(parts))} & leaves
    assert len({entry["p"] for entry in entries}) == len(entries)


@given(st.binary(max_size=20).filter(lambda raw: b"\0" not in raw))
def test_paths_are_bytes(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    assert path_bytes(text) == raw
    assert json.loads(canonical(text)) == text


def test_one_manifest_has_one_id() -> None:
    one = manifest({"p": "a", "t": "d"})
    two = {"entries": [{"t": "d", "p": "a"}], "version": 1}
    assert canonical(one) == b'{"entries":[{"p":"a","t":"d"}],"version":1}'
    assert manifest_id(one) == manifest_id(two) != manifest_id(manifest())
    with pytest.raises(ValueError):
        canonical(float("nan"))


def test_check_path_says_nothing_about_good_paths() -> None:
    check_path("a/b")
