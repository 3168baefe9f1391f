"""`defaults` under each job: maps by key, everything else replaced, null clears."""

from __future__ import annotations

from orchestrator.spec.jobs import ExpandedJob
from tests.unit.spec.conftest import Load, Refused


def job_of(load: Load, defaults: str, keys: str) -> ExpandedJob:
    return load(f"defaults: {{run: x, {defaults}}}\njobs: {{t: {{{keys}}}}}\n").jobs[0]


def test_what_a_job_does_not_say_comes_from_the_defaults(load: Load) -> None:
    job = job_of(load, "timeout: 1h, pull: never, setup: pip install a", "")
    assert (job.run, job.timeout, job.pull) == ("x", 3600.0, "never")
    assert job.setup is not None and job.setup.run == "pip install a"
    assert job_of(load, "timeout: 1h", "run: y, timeout: 2h").timeout == 7200.0


def test_maps_are_joined_by_key(load: Load) -> None:
    job = job_of(
        load, "env: {A: 1, B: 2}, resources: {gpus: 2, gpu_memory: 10GB}", "env: {B: 3, C: 4}, resources: {gpus: 1}"
    )
    assert dict(job.env) == {"A": "1", "B": "3", "C": "4"}
    assert (job.gpus, job.gpu_memory_mib) == (1, 10240)
    job = job_of(load, "code: {path: a, ignore: [b]}", "code: {dir: c}")
    assert (job.code.path, job.code.dir, job.code.ignore) == ("a", "c", ("b",))


def test_matrices_are_joined_by_key_and_their_lists_replaced(load: Load) -> None:
    jobs = load("defaults: {matrix: {a: [1, 2], b: [3]}}\njobs: {t: {run: x, matrix: {a: [5], c: [6]}}}\n").jobs
    assert [dict(job.params) for job in jobs] == [{"a": "5", "b": "3", "c": "6"}]


def test_lists_and_text_are_replaced(load: Load) -> None:
    job = job_of(load, "secrets: [A], outputs: [a, b], hosts: [h, i]", "secrets: [B], outputs: [c], hosts: j")
    assert [secret.name for secret in job.secrets] == ["B"]
    assert job.outputs == ("c",)
    assert [word.text for word in job.hosts.words] == ["j"]


def test_python_is_one_choice_and_replaced_whole(load: Load) -> None:
    assert job_of(load, "python: {conda: a}", "python: {path: /usr/bin/python3}").python == {
        "kind": "path",
        "path": "/usr/bin/python3",
    }
    assert job_of(load, "python: {conda: a}", "python: auto").python == {"kind": "auto"}


def test_null_clears(load: Load) -> None:
    job = job_of(
        load,
        "env: {A: 1, B: 2}, timeout: 1h, setup: y, secrets: [A], matrix: {a: [1]}, python: {conda: a}, hosts: h",
        "env: {A: null}, timeout: null, setup: ~, secrets: , matrix: null, python: null, hosts: null",
    )
    assert dict(job.env) == {"B": "2"}
    assert (job.timeout, job.setup, job.secrets, job.python) == (None, None, (), {"kind": "auto"})
    assert (job.name, job.params, job.hosts.words) == ("t", {}, ())
    assert dict(job_of(load, "env: {A: 1}", "env: null").env) == {}


def test_null_clears_run_too_and_then_it_is_missing(refused: Refused) -> None:
    assert refused("defaults: {run: x}\njobs:\n  t: {run: null}\n")[0] == "3:3: job 't' has no `run`"


def test_a_map_over_text_and_text_over_a_map(load: Load) -> None:
    job = job_of(load, "setup: a", "setup: {run: b, files: [c]}")
    assert job.setup is not None and (job.setup.run, job.setup.files) == ("b", ("c",))
    job = job_of(load, "setup: {run: b, files: [c]}", "setup: a")
    assert job.setup is not None and (job.setup.run, job.setup.files) == ("a", None)


def test_one_job_does_not_change_another(load: Load) -> None:
    jobs = load("defaults: {env: {A: 1}}\njobs: {a: {run: x, env: {B: 2}}, b: {run: x}}\n").jobs
    assert [dict(job.env) for job in jobs] == [{"A": "1", "B": "2"}, {"A": "1"}]


def test_defaults_are_checked_although_every_job_replaces_them(refused: Refused) -> None:
    text = "defaults: {timeout: 2 hourz}\njobs: {t: {run: x, timeout: 1h}}\n"
    assert refused(text)[0] == "1:21: `timeout` must be a duration such as 30s, 10m, 2h or 1h30m, not '2 hourz'"


def test_what_nothing_is_said_of(load: Load) -> None:
    (job,) = load("jobs: {train: {run: python train.py}}\n").jobs
    assert job.position.endswith("jobs.yaml:1:8")
    assert job == ExpandedJob("train", "train", "python train.py", position=job.position)
    assert (job.gpus, job.gpu_memory_mib, job.outputs, job.pull) == ("auto", 0, "auto", "auto")
    assert (job.timeout, job.grace, job.code.path, job.code.dir) == (None, 30.0, ".", ".")
