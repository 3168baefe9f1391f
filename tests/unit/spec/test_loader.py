"""The file as YAML: every way to get it wrong is one sentence with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.spec.expand import load_jobs_file
from tests.unit.spec.conftest import Load, Refused

JOB = "jobs:\n  train:\n    run: python train.py\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a key twice": (JOB + "    run: other\n", "4:5: the key 'run' stands here twice; the first is in line 3"),
    "a job twice": (JOB + "  train: {run: x}\n", "4:3: the key 'train' stands here twice; the first is in line 2"),
    "a tab before a key": (
        "jobs:\n\ttrain: {run: x}\n",
        "2:1: a tab stands here, and YAML is indented with spaces",
    ),
    "a tab further in": (
        "jobs:\n  train:\n  \trun: x\n",
        "3:3: a tab stands here, and YAML is indented with spaces",
    ),
    "UTF-16": (JOB.encode("utf-16"), "1:1: the file is UTF-16, and only UTF-8 is read"),
    "UTF-16, big end first": (b"\xfe\xff" + JOB.encode("utf-16-be"), "1:1: the file is UTF-16, and only UTF-8 is read"),
    "UTF-16 without a mark": (
        JOB.encode("utf-16-le"),
        "1:1: the file is UTF-16 or UTF-32, and only UTF-8 is read",
    ),
    "UTF-32": (JOB.encode("utf-32"), "1:1: the file is UTF-32, and only UTF-8 is read"),
    "GBK": ((JOB + "    # 训练\n").encode("gbk"), "4:8: the file is not UTF-8 text"),
    "GBK after a BOM": (b"\xef\xbb\xbf" + "# 训练\n".encode("gbk"), "1:4: the file is not UTF-8 text"),
    "a NUL": (JOB + "    # \0\n", "4:7: the character U+0000 may not stand in YAML"),
    "an escape character": (JOB + "    # \x1b[0m\n", "4:7: the character U+001B may not stand in YAML"),
    "an anchor bomb": (BOMB + JOB, "5:35: the file unfolds to more than 100,000 values here"),
    "deep lists": ("a: " + "[" * 60 + "]" * 60, "1:53: lists and maps are nested deeper than 50 here"),
    "very deep maps": ("{a: " * 20_000, "1:201: lists and maps are nested deeper than 50 here"),
    "deep by aliases": (
        f"a: &a {'[' * 40}{']' * 40}\nb: {'[' * 20}*a{']' * 20}\n",
        "2:24: lists and maps are nested deeper than 50 here",
    ),
    "a huge file": (b"#" * 1_000_001, "1:1: the file is larger than 1 MB"),
    "a merge key": (
        "x: &x {pull: never}\n" + JOB + "    <<: *x\n",
        "5:5: merge keys (<<) are not known here",
    ),
    "an alias of itself": ("a: &a [*a]\n", "1:8: the alias *a stands inside of what it names"),
    "an alias of nothing": ("a: *b\n", "1:4: the alias *b names no anchor above it"),
    "an alias as a key": ("a: &a x\n*a : y\n", "2:1: an alias (*) may not be a key"),
    "an anchor before a key": ("&a b: c\n", "1:1: an anchor (&) may not stand before a key"),
    "a list as a key": ("? [a]\n: b\n", "1:3: a key must be a word, not a list or a map"),
    "an empty key": ("? \n: b\n", "1:2: a key is empty here"),
    "a Python object": (
        "jobs: !!python/object/apply:os.system [id]\n",
        "1:7: the tag !!python/object/apply:os.system is not allowed here",
    ),
    "two documents": (JOB + "---\na: 1\n", "4:1: a second document begins here, and one file holds one"),
    "another YAML": ("%YAML 1.1\n---\n" + JOB, "2:1: this file asks for another YAML than 1.2"),
    "an escape that is no character": (
        'jobs: "\\UFFFFFFFF"\n',
        "1:8: this is not YAML: an escape (\\) here names no character",
    ),
    "empty": ("", "1:1: the file is empty"),
    "only comments": ("# nothing yet\n\n", "1:1: the file is empty"),
    "null": ("~\n", "1:1: the file is empty"),
    "a list": ("# jobs\n- train\n", "2:1: the file must be a map of keys, as in `jobs:`"),
    "a word": ("jobs\n", "1:1: the file must be a map of keys, as in `jobs:`"),
    "an open bracket": (
        "jobs: [\n",
        "2:1: this is not YAML: expected the node content, but found '<stream end>'",
    ),
    "a colon in a text": (
        "jobs:\n  t:\n    run: echo a: b\n",
        "3:16: this is not YAML: mapping values are not allowed here",
    ),
    "a reference in braces": (
        "jobs:\n  t: {run: echo ${{ matrix.lr }}}\n",
        "2:18: this is not YAML: expected ',' or '}', but got '{'",
    ),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(refused: Refused, content: str | bytes, message: str) -> None:
    assert refused(content)[0] == message


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("jobs:\n\ttrain: {run: x}\n", "Replace tabs by spaces."),
        (JOB.encode("utf-16"), "Save it as UTF-8."),
        ("jobs:\n  t:\n    run: echo a: b\n", "A text with `: ` in it must stand in quotes, or in a block after `|`."),
        ("jobs:\n  t: {run: echo ${{ matrix.lr }}}\n", "In {…} and […] a text with ${{ }} must stand in quotes."),
        ("<<: {a: b}\n", "Put what jobs have in common under `defaults:`."),
    ],
)
def test_the_next_step_is_named(refused: Refused, content: str | bytes, hint: str) -> None:
    assert refused(content)[1] == hint


def test_a_byte_order_mark_is_accepted_and_moves_no_column(load: Load, refused: Refused) -> None:
    assert load(b"\xef\xbb\xbf" + JOB.encode()).jobs[0].run == "python train.py"
    assert refused(b"\xef\xbb\xbfjbos: {}\n")[0] == "1:1: unknown key 'jbos' in the file; did you mean 'jobs'?"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems(load: Load, refused: Refused, end: str) -> None:
    assert load(JOB.replace("\n", end)).jobs[0].run == "python train.py"
    assert refused((JOB + "    rnu: x\n").replace("\n", end))[0].startswith("4:5: unknown key 'rnu'")


def test_columns_count_characters_not_bytes(refused: Refused) -> None:
    assert refused("jobs: {训练: {run: x}}\n")[0].startswith("1:8: a key of `jobs` must be")
    assert refused("jobs: {t: {run: 训练, rnu: x}}\n")[0].startswith("1:21: unknown key 'rnu'")


def test_words_of_older_yaml_stay_text(load: Load) -> None:
    words = ("on", "off", "yes", "no", "y", "n", "On", "NO")
    env = ", ".join(f"V{n}: {word}" for n, word in enumerate(words))
    (job,) = load(f"jobs: {{t: {{run: x, env: {{{env}}}}}}}\n").jobs
    assert tuple(job.env.values()) == words


def test_numbers_stay_as_typed(load: Load) -> None:
    typed = (
        "1e-4",
        "010",
        "3.10",
        "0x1F",
        "0o17",
        "+5",
        "1_000",
        ".5",
        "1.",
        "12:30:00",
        "2024-01-01",
        "-.inf",
        "1e999",
    )
    env = "".join(f"      V{n}: {word}\n" for n, word in enumerate(typed))
    (job,) = load(f"{JOB}    env:\n{env}").jobs
    assert tuple(job.env.values()) == typed


def test_anchors_and_aliases_work(load: Load) -> None:
    jobs = load("jobs:\n  a: {run: x, env: &e {A: b}}\n  b: {run: y, env: *e}\n").jobs
    assert [dict(job.env) for job in jobs] == [{"A": "b"}, {"A": "b"}]


def test_a_problem_in_what_an_alias_names_is_told_where_it_stands(refused: Refused) -> None:
    assert refused("jobs:\n  a: &a {run: 5}\n  b: *a\n")[0] == "2:15: `run` must be a command, as text"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_jobs_file(tmp_path)
    assert caught.value.message == f"{tmp_path} cannot be read: Is a directory"
    with pytest.raises(UsageError) as caught:
        load_jobs_file(tmp_path / "jobs.yaml")
    assert caught.value.message == f"there is no {tmp_path / 'jobs.yaml'}"
    assert "`orch init` writes one" in caught.value.hint
