"""Keys and types: an unknown one, a wrong one, a missing one, each in one sentence with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.spec.expand import load_jobs_file, peek
from tests.unit.spec.conftest import Load, Refused

JOB = "jobs:\n  train:\n    run: x\n    "
KNOWN = (
    "Known here: run, setup, hosts, python, code, env, secrets, matrix, resources, outputs, pull, needs, priority, "
    "max_parallel, max_failures, timeout, no_output, grace, retry."
)

UNKNOWN = {
    "of the file": (
        "projct: a\njobs: {t: {run: x}}\n",
        "1:1: unknown key 'projct' in the file; did you mean 'project'?",
    ),
    "of the defaults": (
        "defaults: {setp: y}\njobs: {t: {run: x}}\n",
        "1:12: unknown key 'setp' in `defaults`; did you mean 'setup'?",
    ),
    "of a job": (JOB + "tiemout: 1h\n", "4:5: unknown key 'tiemout' in job 'train'; did you mean 'timeout'?"),
    "in capitals": (JOB + "Env: {}\n", "4:5: unknown key 'Env' in job 'train'; did you mean 'env'?"),
    "of resources": (JOB + "resources: {gpu: 1}\n", "4:17: unknown key 'gpu' in `resources`; did you mean 'gpus'?"),
    "of code": (JOB + "code: {ignor: [x]}\n", "4:12: unknown key 'ignor' in `code`; did you mean 'ignore'?"),
    "of setup": (JOB + "setup: {run: y, file: [z]}\n", "4:21: unknown key 'file' in `setup`; did you mean 'files'?"),
    "of python": (JOB + "python: {cnda: base}\n", "4:14: unknown key 'cnda' in `python`; did you mean 'conda'?"),
    "of a secret": (
        JOB + "secrets: [{name: A, atrest: disk}]\n",
        "4:25: unknown key 'atrest' in an entry of `secrets`; did you mean 'at_rest'?",
    ),
    "of a host": (
        "hosts: {box: {shs: h}}\njobs: {t: {run: x}}\n",
        "1:15: unknown key 'shs' in host 'box'; did you mean 'ssh'?",
    ),
    "like nothing": (JOB + "zzz: 1\n", "4:5: unknown key 'zzz' in job 'train'"),
}


@pytest.mark.parametrize(("text", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_key(refused: Refused, text: str, message: str) -> None:
    assert refused(text)[0] == message


def test_the_known_keys_are_named(refused: Refused) -> None:
    assert refused(JOB + "zzz: 1\n")[1] == KNOWN


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("proxy: [setup]", "4:5: unknown key 'proxy' in job 'train'"),
        ("wandb: {}", "4:5: unknown key 'wandb' in job 'train'"),
        ("data: []", "4:5: unknown key 'data' in job 'train'"),
        ("resources: {cpus: 1}", "4:17: unknown key 'cpus' in `resources`"),
        ("resources: {memory: 1GB}", "4:17: unknown key 'memory' in `resources`"),
        ("resources: {disk: 1GB}", "4:17: unknown key 'disk' in `resources`"),
        ("python: {uv: pyproject.toml}", "4:14: unknown key 'uv' in `python`"),
        ("code: {git: x}", "4:12: unknown key 'git' in `code`"),
        ("code: {patch: true}", "4:12: unknown key 'patch' in `code`"),
        ("code: {subdir: x}", "4:12: unknown key 'subdir' in `code`"),
    ],
)
def test_a_key_with_a_meaning_of_its_own_gets_no_wrong_advice(refused: Refused, line: str, message: str) -> None:
    assert refused(JOB + line + "\n")[0] == message


@pytest.mark.parametrize("line", ["when_done: stop", "budget: 20 CNY"])
def test_such_keys_of_the_file_and_of_hosts(refused: Refused, line: str) -> None:
    key = line.split(":")[0]
    assert refused(f"jobs: {{t: {{run: x}}}}\n{line}\n")[0] == f"2:1: unknown key {key!r} in the file"
    for key in ("price", "guard"):
        text = f"jobs: {{t: {{run: x}}}}\nhosts: {{box: {{ssh: h, {key}: 1}}}}\n"
        assert refused(text)[0] == f"2:23: unknown key {key!r} in host 'box'"


TYPES = {
    "jobs is a list": ("jobs: [a]\n", "1:7: `jobs` must be a map"),
    "a job is text": ("jobs: {t: python x}\n", "1:11: job 't' must be a map, as in {run: python train.py}"),
    "jobs is missing": ("project: a\n", "1:1: the file has no `jobs`"),
    "jobs is empty": ("jobs: {}\n", "1:1: `jobs` is empty"),
    "a job has no run": ("jobs:\n  t: {pull: auto}\n", "2:3: job 't' has no `run`"),
    "a job is nothing": ("jobs:\n  t:\n", "2:3: job 't' has no `run`"),
    "run is a list": ("jobs: {t: {run: [python, x]}}\n", "1:17: `run` must be a command, as text"),
    "run is a number": ("jobs: {t: {run: 5}}\n", "1:17: `run` must be a command, as text"),
    "run is blank": ("jobs: {t: {run: ' '}}\n", "1:17: `run` must be a command, as text"),
    "version": (
        "version: 2\njobs: {t: {run: x}}\n",
        "1:10: `version` must be 1; no other version of this file is known",
    ),
    "project": (
        "project: a/b\njobs: {t: {run: x}}\n",
        "1:10: `project` must be a word of letters, digits, _, - and ., not 'a/b'",
    ),
    "defaults": ("defaults: [a]\njobs: {t: {run: x}}\n", "1:11: `defaults` must be a map"),
    "env is a list": (JOB + "env: [A=b]\n", "4:10: `env` must be a map"),
    "an env value is a list": (JOB + "env: {A: [b]}\n", "4:14: `A` must be text"),
    "a bare true": (JOB + "env: {A: true}\n", '4:14: `A` must be text; a bare true is refused, say "true" or "1"'),
    "a bare false": (JOB + "env: {A: False}\n", '4:14: `A` must be text; a bare false is refused, say "false" or "1"'),
    "an env name": (
        JOB + "env: {A-B: c}\n",
        "4:11: a key of `env` must be a name of letters, digits and _, beginning with a letter or _, not 'A-B'",
    ),
    "an env name of orch": (
        JOB + "env: {ORCH_X: c}\n",
        "4:11: 'ORCH_X' cannot be set under `env`: names that begin with ORCH_ are orch's own",
    ),
    "secrets is text": (JOB + "secrets: A\n", "4:14: `secrets` must be a list"),
    "code is text": (JOB + "code: src\n", "4:11: `code` must be a map"),
    "pull": (JOB + "pull: true\n", "4:11: `pull` must be auto or never, not 'true'"),
    "pull misspelt": (JOB + "pull: nevr\n", "4:11: `pull` must be auto or never, not 'nevr'; did you mean 'never'?"),
    "setup is a list": (JOB + "setup: [a]\n", "4:12: `setup` must be a command as text, or {run, files}"),
    "setup without run": (JOB + "setup: {files: [a]}\n", "4:5: `setup` has no `run`"),
    "setup's files": (JOB + "setup: {run: a, files: b}\n", "4:28: `files` must be a list"),
}


@pytest.mark.parametrize(("text", "message"), TYPES.values(), ids=TYPES)
def test_a_wrong_type(refused: Refused, text: str, message: str) -> None:
    assert refused(text)[0] == message


def test_the_first_in_the_file_is_told_and_the_others_are_counted(refused: Refused) -> None:
    message, hint = refused("jobs:\n  b: {run: x, timeout: 0}\n  a: {run: 5}\nprojct: a\n")
    assert message == "2:24: `timeout` must be longer than 0; `none` is no limit"
    assert hint == "2 more problems follow."


def test_a_wrong_default_is_one_problem_however_many_jobs_have_it(refused: Refused) -> None:
    message, hint = refused("defaults: {timeout: soon}\njobs: {a: {run: x}, b: {run: x}}\n")
    assert message == "1:21: `timeout` must be a duration such as 30s, 10m, 2h or 1h30m, not 'soon'"
    assert hint == ""


@pytest.mark.parametrize("name", ["train", "_a", "T-1_b", "a" * 100])
def test_names_of_jobs(load: Load, name: str) -> None:
    assert load(f"jobs: {{{name}: {{run: x}}}}\n").jobs[0].name == name


@pytest.mark.parametrize("name", ["train.1", "1a", "-a", "a b", "训练", "a" * 101, "a/b"])
def test_names_that_no_job_can_have(refused: Refused, name: str) -> None:
    rule = "a name of letters, digits, _ and -, beginning with a letter or _"
    assert refused(f"jobs: {{'{name}': {{run: x}}}}\n")[0] == f"1:8: a key of `jobs` must be {rule}, not {name[:60]!r}"


def test_the_project_is_the_folder_unless_it_is_named(load: Load) -> None:
    assert load("jobs: {t: {run: x}}\n").project == load("jobs: {t: {run: x}}\n").folder.name
    assert load("project: 训练-1\njobs: {t: {run: x}}\n").project == "训练-1"


def test_paths_are_relative_to_where_the_file_is_named(load: Load, tmp_path: Path) -> None:
    load("jobs: {t: {run: x}}\n")
    project = tmp_path / "digits"
    project.mkdir()
    (project / "jobs.yaml").symlink_to(tmp_path / "jobs.yaml")
    file = load_jobs_file(project / "jobs.yaml")
    assert (file.folder, file.project) == (project.resolve(), "digits")
    assert peek(project / "jobs.yaml")[0] == "digits"


def test_a_warning_that_several_jobs_share_is_given_once(load: Load) -> None:
    said = load("defaults: {env: {API_KEY: x}}\njobs: {a: {run: x}, b: {run: x}}\n").warnings
    assert [text.split("jobs.yaml:")[1].split(" ")[:2] for text in said] == [["1:18:", "API_KEY"]]
