"""`needs`, `retry` and the other keys of the queue: what they mean, and what is refused with its place."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError, UsageError
from orchestrator.spec.expand import to_spec
from orchestrator.spec.jobs import ExpandedJob, Need, Retry
from orchestrator.spec.needs import common_hosts, together, with_needed
from tests.unit.spec.conftest import Load, Refused

CHAIN = "jobs:\n  a: {run: x}\n  b: {run: x, needs: a}\n  c: {run: x, needs: [b]}\n  d: {run: x}\n"
JOB = "jobs:\n  train:\n    run: x\n    "


def job(name: str, *needs: str) -> ExpandedJob:
    return ExpandedJob(name, name.split(".")[0], "x", needs=tuple(Need(need, "jobs.yaml:1:1") for need in needs))


def test_needs_are_names_of_jobs_with_their_place(load: Load) -> None:
    jobs = load(CHAIN).jobs
    assert [[need.job for need in one.needs] for one in jobs] == [[], ["a"], ["b"], []]
    assert jobs[2].needs[0].position.endswith("jobs.yaml:4:23")


REFUSED = {
    "a typo": ("jobs:\n  prep: {run: x}\n  t: {run: x, needs: [perp]}\n",
               "3:23: job 't' needs 'perp', and there is no such job; did you mean 'prep'?"),
    "itself": ("jobs:\n  t: {run: x, needs: t}\n", "2:22: `needs` goes in a circle: 't' needs 't'"),
    "a circle": ("jobs:\n  a: {run: x, needs: c}\n  b: {run: x, needs: a}\n  c: {run: x, needs: [b]}\n",
                 "2:22: `needs` goes in a circle: 'a' needs 'c' needs 'b' needs 'a'"),
    "not a name": (JOB + "needs: 5\n", "4:12: `needs` must be a job's name, or a list of names"),
    "twice": ("jobs:\n  a: {run: x}\n  t: {run: x, needs: [a, a]}\n", "3:22: `needs` names a job twice"),
    "priority": (JOB + "priority: 101\n", "4:15: `priority` must be a whole number from -100 to 100, not '101'"),
    "priority, a word": (JOB + "priority: high\n",
                         "4:15: `priority` must be a whole number from -100 to 100, not 'high'"),
    "max_parallel": (JOB + "max_parallel: -1\n",
                     "4:19: `max_parallel` must be a whole number from 0 to 10000, not '-1'"),
    "retry": (JOB + "retry: 3\n", "4:12: `retry` must be a map"),
    "retry.on": (JOB + "retry: {max: 1, on: [omo]}\n",
                 "4:26: `on` must be host, oom, cuda, timeout or exit, not 'omo'; did you mean 'oom'?"),
    "retry.max": (JOB + "retry: {max: 1.5}\n", "4:18: `max` must be a whole number from 0 to 1000, not '1.5'"),
    "a third of a GPU": (JOB + "resources: {gpus: 0.3333}\n",
                         "4:23: `gpus` can be a part of a GPU in hundredths, as in 0.25, not '0.3333'"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(refused: Refused, text: str, message: str) -> None:
    assert refused(text)[0] == message


def test_an_unlucky_duration(refused: Refused) -> None:
    assert refused(JOB + "no_output: 2 hourz\n")[0].startswith("4:16: `no_output` ")


def test_a_choice_must_hold_what_it_needs(load: Load) -> None:
    with pytest.raises(UsageError, match="c needs b, which is left out") as caught:
        load(CHAIN, job_filter=["c"])
    assert caught.value.hint == "Add it: -j c -j b"
    assert [one.name for one in load(CHAIN, job_filter=["a", "b"]).jobs] == ["a", "b"]


def test_what_is_needed_comes_along() -> None:
    jobs = [job("a"), job("b", "a"), job("c", "b"), job("d")]
    assert with_needed({"c"}, jobs) == {"a", "b", "c"}
    assert with_needed({"d"}, jobs) == {"d"}


def test_what_is_bound_is_one_group() -> None:
    jobs = [job("a.1"), job("a.2"), job("b", "a"), job("c", "d"), job("d"), job("e")]
    bound = together(jobs)
    assert bound["a"] == bound["b"] and bound["c"] == bound["d"] and len(set(bound.values())) == 3


def test_bound_jobs_share_their_hosts() -> None:
    jobs = [job("a"), job("b", "a"), job("c")]
    hosts = {"a": ["h1", "h2"], "b": ["h2", "h3"], "c": ["h1"]}
    assert common_hosts(jobs, hosts) == {"a": ["h2"], "b": ["h2"], "c": ["h1"]}
    with pytest.raises(ConfigError, match="a, b have none in common"):
        common_hosts(jobs, {**hosts, "b": ["h3"]})


def test_the_queue_keys_reach_the_frozen_job(load: Load) -> None:
    text = (
        "jobs:\n  prep: {run: x, matrix: {n: [1, 2]}}\n  train:\n    run: x\n    needs: prep\n    priority: 5\n"
        "    max_parallel: 2\n    max_failures: 3\n    no_output: 10m\n    retry: {max: 2, on: [exit]}\n"
        "    resources: {gpus: 0.25, gpu_type: A100 80GB}\n"
    )
    train = load(text).jobs[-1]
    assert train.retry == Retry(2, ("exit",), 30.0)
    spec = to_spec(
        train, id="j-3", submission="s-1", owner="me", project="p", snapshot="b" * 64, submitted_at=1.0,
        setup_files=[], ids={"prep": ["j-1", "j-2"]},
    )  # fmt: skip
    assert spec["needs"] == [{"job": "prep", "ids": ["j-1", "j-2"]}]
    assert (spec["priority"], spec["max_parallel"], spec["max_failures"], spec["no_output"]) == (5, 2, 3, 600.0)
    assert (spec["gpus"], spec["gpu_type"]) == (0.25, "A100 80GB")
    assert spec["retry"] == {"max": 2, "on": ["exit"], "backoff": 30.0}
    assert sorted(spec["requires"]) == sorted(
        ["needs", "priority", "max_parallel", "max_failures", "no_output", "retry", "gpu_type", "gpu_share"]
    )


def test_defaults_of_retry_are_joined(load: Load) -> None:
    (one,) = load("defaults: {retry: {max: 3, backoff: 5s}}\njobs: {t: {run: x, retry: {max: 1}}}\n").jobs
    assert one.retry == Retry(1, ("host", "oom", "cuda", "timeout"), 5.0)


def test_gpus_of_a_host(load: Load) -> None:
    hosts = load("hosts: {b: {ssh: h, gpus: [3, 2], max_gpus: 1}, c: {ssh: h, gpus: all}}\njobs: {t: {run: x}}\n").hosts
    assert (hosts["b"].gpus, hosts["b"].max_gpus) == ((2, 3), 1)
    assert (hosts["c"].gpus, hosts["c"].max_gpus) == (None, None)
