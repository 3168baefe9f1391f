"""What the command line says over the file, one command without a file, and what a setup depends on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, UsageError
from orchestrator.spec.expand import peek, project_name, setup_files, single_job, to_spec
from orchestrator.spec.jobs import ExpandedJob, Setup
from tests.unit.spec.conftest import Load

FILE = """\
project: digits
hosts: {box: {ssh: local}}
defaults: {env: {A: 1}, python: {conda: base}, timeout: 1h, matrix: {z: [1, 2]}}
jobs:
  train: {run: x, matrix: {lr: [1e-3, 1e-4], z: [1]}}
  test: {run: y, matrix: null}
"""


def test_only_some_jobs_and_cells(load: Load) -> None:
    def names(*jobs: str, **matrix: str) -> list[str]:
        return [job.name for job in load(FILE, job_filter=jobs, matrix_filter=matrix).jobs]

    assert names() == ["train.1", "train.2", "test"]
    assert names("train") == ["train.1", "train.2"]
    assert names("train.2", "test") == ["train.2", "test"]
    assert names(lr="1e-4") == ["train.2"]
    assert names("train", lr="1e-3", z="1") == ["train.1"]


NAMES = "There are: train, train.1, train.2, test."


@pytest.mark.parametrize(
    ("jobs", "matrix", "sentence", "hint"),
    [
        (["trian"], {}, "no job is called 'trian'; did you mean 'train'?", NAMES),
        (
            ["train.3"],
            {},
            "no job is called 'train.3'; did you mean 'train.2'?",
            NAMES,
        ),
        ([], {"lrr": "1"}, "no matrix has the key 'lrr'; did you mean 'lr'?", "There are: lr, z."),
        (["test"], {"lr": "1"}, "no matrix has the key 'lr': none of these jobs has a matrix", ""),
        ([], {"lr": "0.001"}, "no cell has lr=0.001", "There are: 1e-3, 1e-4."),
    ],
)
def test_filters_that_name_nothing(
    load: Load, jobs: list[str], matrix: dict[str, str], sentence: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(FILE, job_filter=jobs, matrix_filter=matrix)
    assert (caught.value.message, caught.value.hint) == (sentence, hint)


def test_the_command_line_wins(load: Load) -> None:
    for job in load(FILE, env_overrides={"A": "2", "B": "3"}, gpus=4, hosts=["other"]).jobs:
        assert (dict(job.env), job.gpus) == ({"A": "2", "B": "3"}, 4)
        assert [(word.text, word.position) for word in job.hosts.words] == [("other", "")]


@pytest.mark.parametrize("name", ["A-B", "", "1A", "ORCH_X", "orch_y"])
def test_variables_that_cannot_be_set(load: Load, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(FILE, env_overrides={name: "x"})
    assert caught.value.message == f"{name!r} cannot be the name of a variable"


def test_one_command_takes_the_defaults_but_no_matrix(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(FILE)
    file = single_job(["python", "a b.py"], file=path, gpus=0)
    (job,) = file.jobs
    assert (file.project, list(file.hosts)) == ("digits", ["box"])
    assert (job.name, job.run, job.params, dict(job.env)) == ("run", "python 'a b.py'", {}, {"A": "1"})
    assert (job.python, job.timeout, job.gpus) == ({"kind": "conda", "name": "base"}, 3600.0, 0)


def test_one_command_without_a_file(tmp_path: Path) -> None:
    file = single_job(["nvidia-smi"], file=tmp_path / "jobs.yaml", name="look")
    assert (file.project, file.hosts, file.warnings) == (tmp_path.name, {}, [])
    assert [(job.name, job.run, job.gpus) for job in file.jobs] == [("look", "nvidia-smi", "auto")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, max_size=5))
def test_the_words_of_a_command_reach_it_as_they_are(words: list[str]) -> None:
    (job,) = single_job(["printf", "%s\\0", *words], file=Path("/nowhere/jobs.yaml")).jobs
    printed = subprocess.run(["sh", "-c", job.run], stdout=subprocess.PIPE, check=True).stdout
    assert printed.decode().split("\0")[:-1] == words


def test_a_reference_in_a_command_is_a_word_like_any_other(tmp_path: Path) -> None:
    (job,) = single_job(["echo", "${{ matrix.a }}"], file=tmp_path / "jobs.yaml").jobs
    assert job.run == "echo '${{ matrix.a }}'"


@pytest.mark.parametrize(
    ("command", "name", "sentence"),
    [
        ([], "run", "there is no command to run"),
        (["a\0b"], "run", "there is no command to run"),
        (["x"], "a.b", "a job cannot be called 'a.b'"),
    ],
)
def test_commands_that_cannot_be_run(tmp_path: Path, command: list[str], name: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        single_job(command, file=tmp_path / "jobs.yaml", name=name)
    assert caught.value.message == sentence


def test_one_command_with_wrong_defaults(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text("defaults: {timeout: soon}\njobs: {t: {run: x}}\n")
    with pytest.raises(ConfigError, match=r"jobs\.yaml:1:21: `timeout` must be a duration"):
        single_job(["x"], file=path)


def test_a_look_at_the_project_does_not_mind_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    assert peek(path) == (tmp_path.name, [])
    path.write_text("project: a\nhosts: {box: {ssh: local}}\njobs: {t: {rnu: x}}\nbudget: 1\n")
    project, hosts = peek(path)
    assert (project, [host.name for host in hosts]) == ("a", ["box"])
    path.write_text("project: a/b\n")
    with pytest.raises(ConfigError, match=r"jobs\.yaml:1:10: `project` must be a word"):
        peek(path)


FOLDERS = {"digits": "digits", "my project": "my-project", "训练": "训练", ".a": "a", "--": "project", "a+b": "a-b"}


@pytest.mark.parametrize(("folder", "word"), FOLDERS.items())
def test_names_of_folders(folder: str, word: str) -> None:
    assert project_name(Path("/x") / folder) == word


SENT = ["requirements.txt", "src/requirements.txt", "install.py", "train.py", "env/a.yml"]


@pytest.mark.parametrize(
    ("setup", "found"),
    [
        (None, []),
        (Setup("pip install -r requirements.txt"), ["requirements.txt"]),
        (Setup("pip install -rrequirements.txt; python ./install.py"), ["install.py", "requirements.txt"]),
        (Setup("pip install -r requirements.txt", folder="src"), ["src/requirements.txt"]),
        (Setup("conda env update --file=env/a.yml"), ["env/a.yml"]),
        (Setup('pip install -r "requirements.txt" && echo train'), ["requirements.txt"]),
        (Setup("pip install numpy"), []),
        (Setup("pip install -r requirements.txt", files=("install.py",)), ["install.py"]),
        (Setup("pip install -r requirements.txt", files=()), []),
    ],
)
def test_what_a_setup_depends_on(setup: Setup | None, found: list[str]) -> None:
    assert setup_files(setup, SENT) == found


def test_a_file_of_a_setup_that_is_not_sent() -> None:
    with pytest.raises(ConfigError) as caught:
        setup_files(Setup("x", files=("nope.txt",), position="jobs.yaml:3:5"), SENT)
    assert caught.value.message == "jobs.yaml:3:5: `setup.files` names 'nope.txt', and the code has no such file"
    assert "orch submit --dry-run" in caught.value.hint


def test_a_file_of_a_setup_is_told_where_the_setup_stands(load: Load) -> None:
    (job,) = load("jobs:\n  t:\n    run: x\n    setup: {run: y, files: [a.txt]}\n").jobs
    assert job.setup is not None and job.setup.position.endswith("jobs.yaml:4:5")


def test_the_frozen_job_says_what_the_file_said(load: Load) -> None:
    job: ExpandedJob = load(FILE).jobs[1]
    spec = to_spec(job, id="j-1", submission="s-1", owner="me", project="digits", snapshot="b" * 64, submitted_at=1.0,
                   setup_files=[], ids={})  # fmt: skip
    assert (spec["id"], spec["name"], spec["job"], spec["params"]) == (
        "j-1",
        "train.2",
        "train",
        {"lr": "1e-4", "z": "1"},
    )
    assert (spec["run"], spec["env"], spec["python"]) == ("x", {"A": "1"}, {"kind": "conda", "name": "base"})
    assert (spec["timeout"], spec["gpus"], spec["outputs"], spec["setup"]) == (3600.0, "auto", "auto", None)
    assert spec["secrets"] == []
