"""Ignore rules mean what git means by them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.ship.scan import Tree, scan_tree

GIT_ENV = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": "/"}
NAMES = ("a", "b", "ab", "a.x", "b.x", "[a]", "!b", "a b")
PIECES = (
    "a",
    "b",
    "*",
    "?",
    "**",
    "a*",
    "*b",
    "*.x",
    "[ab]",
    "[!a]",
    "[a-b]*",
    "[[:alpha:]]",
    "\\[a]",
    "[z-a]",
    "a ",
    "ab",
)


def files(tree: Tree) -> set[str]:
    return {entry["p"] for entry in tree.manifest["entries"] if entry["t"] == "f"}


def put(root: Path, paths: dict[str, str]) -> None:
    for name, text in paths.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def git(root: Path, *words: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["git", *words], cwd=root, env=GIT_ENV, input=stdin, capture_output=True, check=True).stdout


def kept_by_git(root: Path) -> set[str]:
    listed = git(root, "-c", "core.quotePath=false", "ls-files", "-z", "--others", "--exclude-standard")
    return {os.fsdecode(name) for name in listed.split(b"\0") if name}


def patterns() -> st.SearchStrategy[str]:
    body = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("/".join)
    return st.builds(
        lambda no, top, text, end: no + top + text + end,
        st.sampled_from(["", "", "!"]),
        st.sampled_from(["", "", "/"]),
        body,
        st.sampled_from(["", "", "/", " ", "\\"]),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=st.sets(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple), min_size=1, max_size=10),
    top=st.lists(patterns(), max_size=4),
    nested=st.dictionaries(st.sampled_from(["a", "b", "a/b", "ab"]), st.lists(patterns(), max_size=3), max_size=2),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_gitignore_files_as_git_reads_them(
    tmp_path_factory: pytest.TempPathFactory,
    paths: set[tuple[str, ...]],
    top: list[str],
    nested: dict[str, list[str]],
    end: str,
) -> None:
    root = tmp_path_factory.mktemp("tree")
    git(root, "init", "-q")
    for parts in sorted(paths):
        path = root.joinpath(*parts)
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            put(root, {"/".join(parts): ""})
    for folder, lines in [("", top), *nested.items()]:
        if (root / folder).is_dir():
            put(root, {f"{folder}/.gitignore".lstrip("/"): end.join(lines)})
    assert files(scan_tree(root)) == kept_by_git(root)


def test_built_in_rules_are_the_weakest(tmp_path: Path) -> None:
    put(tmp_path, {"a.py": "", "a.pyc": "", "sub/__pycache__/x": "", "wandb/run": "", "venv/x": "", ".git/HEAD": ""})
    tree = scan_tree(tmp_path)
    assert files(tree) == {"a.py"}
    assert {(row.path, row.rule) for row in tree.left_out} == {
        ("a.pyc", "built in: *.pyc"),
        ("sub/__pycache__/", "built in: __pycache__"),
        ("wandb/", "built in: wandb"),
        ("venv/", "built in: venv"),
        (".git/", "built in: .git"),
    }
    put(tmp_path, {".gitignore": "!wandb\n!.git\n"})
    assert files(scan_tree(tmp_path)) == {"a.py", ".gitignore", "wandb/run"}


def test_a_whitelist_does_not_bring_back_everything(tmp_path: Path) -> None:
    put(tmp_path, {".gitignore": "*\n!*/\n!*.py\n", "a.py": "", "a.csv": "", "sub/b.py": "", ".venv/c.py": ""})
    assert files(scan_tree(tmp_path)) == {"a.py", "sub/b.py"}


def test_order_of_the_rules(tmp_path: Path) -> None:
    put(
        tmp_path,
        {".gitignore": "*.csv\n", ".orchignore": "!keep.csv\n*.bin\n", "keep.csv": "", "no.csv": "", "x.bin": ""},
    )
    assert files(scan_tree(tmp_path)) == {".gitignore", ".orchignore", "keep.csv"}
    assert files(scan_tree(tmp_path, ["keep.csv", "!x.bin", ".*"])) == {"x.bin"}
    assert files(scan_tree(tmp_path, ["keep.csv", ".*"], ["no.csv"])) == {"no.csv"}


def test_a_nested_orchignore_counts_in_its_folder(tmp_path: Path) -> None:
    put(tmp_path, {"sub/.orchignore": "/x\n", "sub/x": "", "x": "", "sub/deep/x": ""})
    assert files(scan_tree(tmp_path)) == {"sub/.orchignore", "x", "sub/deep/x"}


@pytest.mark.parametrize(
    ("include", "more"),
    [
        (["data/small.csv"], {"data/small.csv"}),
        (["data/deep/*.csv"], {"data/deep/b.csv"}),
        (["/data/**/b.csv"], {"data/deep/b.csv"}),
        (["b.csv"], {"data/deep/b.csv"}),
        (["data"], {"data/small.csv", "data/big.bin", "data/deep/b.csv"}),
        (["data/", "!data/big.bin"], {"data/small.csv", "data/deep/b.csv"}),
        (["site.py"], set[str]()),
        ([".venv/lib/site.py"], {".venv/lib/site.py"}),
        (["results/s-1/log"], {"results/s-1/log"}),
    ],
)
def test_include_reaches_into_ignored_folders(tmp_path: Path, include: list[str], more: set[str]) -> None:
    put(
        tmp_path, {".gitignore": "data/\n", "a.py": "", "data/small.csv": "", "data/big.bin": "", "data/deep/b.csv": ""}
    )
    put(tmp_path, {".venv/lib/site.py": "", "results/s-1/log": ""})
    tree = scan_tree(tmp_path, [], include, tmp_path / "results")
    assert files(tree) == {".gitignore", "a.py"} | more


def test_the_laptops_own_state_is_never_sent(tmp_path: Path) -> None:
    put(tmp_path, {"home/orch/id_ed25519": "key", "home/orch.py": "", "a.py": ""})
    tree = scan_tree(tmp_path, ["!home"], ["home/**", "home/orch/id_ed25519"], state=tmp_path / "home" / "orch")
    assert files(tree) == {"home/orch.py", "a.py"}
    assert ("home/orch/", "orch's own state") in [(row.path, row.rule) for row in tree.left_out]


def test_results_are_left_out_where_they_are_and_not_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, {"results/log": "", "src/results/x.py": ""})
    tree = scan_tree(tmp_path, results=tmp_path / "results")
    assert files(tree) == {"src/results/x.py"}
    assert [(row.path, row.rule) for row in tree.left_out] == [("results/", "results folder")]


def test_the_repository_around_the_folder_has_a_say(tmp_path: Path) -> None:
    put(tmp_path, {".git/HEAD": "", ".gitignore": "*.ckpt\n/exp/secret\n", "exp/a.py": "", "exp/a.ckpt": ""})
    put(tmp_path, {"exp/secret": "", "exp/sub/secret": ""})
    tree = scan_tree(tmp_path / "exp")
    assert files(tree) == {"a.py", "sub/secret"}
    put(tmp_path, {".gitignore": "*\n"})
    assert files(scan_tree(tmp_path / "exp")) == {"a.py", "a.ckpt", "secret", "sub/secret"}


def test_an_ignored_folder_is_not_entered(tmp_path: Path) -> None:
    put(tmp_path, {".gitignore": "big/\n", "big/x/y": "", "a": ""})
    (tmp_path / "big" / "x").chmod(0)
    try:
        tree = scan_tree(tmp_path)
    finally:
        (tmp_path / "big" / "x").chmod(0o700)
    assert tree.unreadable == {} and [row.path for row in tree.left_out] == ["big/"]
