"""The keys of jobs.yaml that are the queue's: what needs what, tries, places, parts of GPUs, and what never fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.loopback import BARE_PATH
from tests.harness.cli import Laptop
from tests.integration.stand_in_gpu import StandInGpus

NEEDS = """
jobs:
  train:
    run: |
      [ -e tried ] || { touch tried; exit 3; }
      { cat $ORCH_NEED_PREPARE/data.txt; cat $ORCH_NEED_MANY_ONES/*/n; echo $ORCH_ATTEMPT $ORCH_RESUME; } > $ORCH_OUTPUT_DIR/seen
    needs: [prepare, many-ones]
    retry: {max: 1, on: [exit], backoff: 0s}
  many-ones: {run: "echo ${{ matrix.n }} > $ORCH_OUTPUT_DIR/n", matrix: {n: [1, 2]}}
  prepare: {run: echo ready > $ORCH_OUTPUT_DIR/data.txt}
  broken: {run: exit 4}
  after: {run: echo never, needs: broken}
"""  # noqa: E501


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    (tmp_path / "tools").mkdir()
    return Laptop(tmp_path / "home", tmp_path / "project", env={"PATH": f"{tmp_path / 'tools'}:{BARE_PATH}"})


@pytest.fixture
def gpus(tmp_path: Path, laptop: Laptop) -> Iterator[StandInGpus]:
    with StandInGpus(tmp_path / "tools", ("NVIDIA GeForce RTX 4090", "NVIDIA A100-SXM4-80GB")) as made:
        laptop.orch("host", "add", "here", "local")
        yield made


def test_what_needs_what(laptop: Laptop) -> None:
    laptop.orch("host", "add", "here", "local")
    laptop.jobs_yaml(NEEDS)
    laptop.orch("submit", code=1)
    (seen,) = laptop.folder.glob("results/*/train/seen")
    assert seen.read_text() == "ready\n1\n2\n2 1\n"
    after = laptop.json("show", "after")
    assert (after["state"], after["reason"]) == ("FAILED", "dependency_failed")
    assert "broken is FAILED" in laptop.orch("show", "after").stdout
    assert [one["reason"] for one in laptop.json("show", "train")["attempts"]] == ["exit_nonzero", "exit_zero"]


def test_only_failed_brings_along_what_is_needed(laptop: Laptop) -> None:
    laptop.orch("host", "add", "here", "local")
    laptop.jobs_yaml(
        "jobs:\n  a: {run: echo a > $ORCH_OUTPUT_DIR/a}\n  b: {run: exit 1, needs: a}\n  c: {run: 'true'}\n"
    )
    laptop.orch("submit", code=1)
    laptop.jobs_yaml(
        "jobs:\n  a: {run: echo a > $ORCH_OUTPUT_DIR/a}\n  b: {run: cat $ORCH_NEED_A/a, needs: a}\n  c: {run: 'true'}\n"
    )
    sent = laptop.json("submit", "--only", "failed", "-d")
    assert [job["name"] for job in sent["jobs"]] == ["a", "b"]
    laptop.orch("wait", sent["submission"])


NEVER = {
    "gpus: 3": "train asks for 3 GPU(s), and that can never be met: here has 2 GPU(s)",
    "gpu_type: H100": "train asks for a GPU of type H100, and that can never be met: here has 2 GPU(s)",
    "gpus: 1, gpu_memory: 100GB": "train asks for 1 GPU(s) with 102400 MiB, and that can never be met",
}


def test_what_can_never_run_is_refused_before_anything_is_queued(laptop: Laptop, gpus: StandInGpus) -> None:
    del gpus
    for resources, sentence in NEVER.items():
        laptop.jobs_yaml(f"jobs: {{train: {{run: 'true', resources: {{{resources}}}}}}}\n")
        assert sentence in laptop.orch("submit", "-d", code=4).stderr
    assert laptop.json("status")["jobs"] == []
    laptop.jobs_yaml(
        "hosts: {here: {ssh: local, gpus: [1], max_gpus: 1}}\n"
        "jobs: {train: {run: echo on $CUDA_VISIBLE_DEVICES., resources: {gpus: 2}}}\n"
    )
    assert "here has 1 GPU(s) (NVIDIA A100" in laptop.orch("submit", "-d", code=4).stderr
    laptop.orch("submit", "--gpus", "1")
    assert "on 1." in laptop.orch("logs", "train").stdout


def test_two_jobs_share_a_gpu(laptop: Laptop, gpus: StandInGpus) -> None:
    del gpus
    meet = "touch ~/here-$N; until [ -e ~/here-$OTHER ]; do sleep 0.05; done; echo on $CUDA_VISIBLE_DEVICES."
    laptop.jobs_yaml(
        "defaults: {resources: {gpus: 0.5, gpu_type: a100}}\n"
        f"jobs:\n  one: {{run: '{meet}', env: {{N: 1, OTHER: 2}}}}\n  two: {{run: '{meet}', env: {{N: 2, OTHER: 1}}}}\n"
    )
    laptop.orch("submit")
    for job in ("one", "two"):
        assert "on 1." in laptop.orch("logs", job).stdout
