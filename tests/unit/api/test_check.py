"""What facts about a host turn into: nothing, warnings, refusals, each with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.check import judge
from orchestrator.spec.expand import ExpandedJob, load_jobs_file

GPU = {
    "index": 0, "uuid": "GPU-1", "name": "NVIDIA GeForce RTX 4090", "memory_total_mib": 24564, "memory_used_mib": 2,
    "utilization_pct": 0, "temperature_c": 30, "power_w": 20.0, "usable": True, "note": "", "leased_to": None,
    "driver": "550.90.07",
}  # fmt: skip


def facts(**changed: Any) -> dict[str, Any]:
    return {
        "gpu": {"state": "ok", "message": "", "cuda": "12.4", "gpus": [GPU]},
        "torch": {"checked": True, "version": "2.5.1", "available": True, "cuda": "12.4", "error": "", "jax": None},
        "disk": {"path": "/root", "free": 10**12, "total": 10**12, "inodes_free": 10**7, "inodes_total": 10**7},
        "no_gpu_mode": False,
        "warnings": [],
        **changed,
    }


def gpu_state(state: str, *gpus: Any, message: str = "") -> dict[str, Any]:
    return {"state": state, "message": message, "cuda": None, "gpus": list(gpus)}


@pytest.fixture
def jobs(tmp_path: Path) -> list[ExpandedJob]:
    path = tmp_path / "jobs.yaml"
    path.write_text("jobs: {train: {run: python train.py, resources: {gpus: 2}}}\n", encoding="utf-8")
    return list(load_jobs_file(path).jobs)


def test_a_good_host_has_no_findings() -> None:
    assert judge(facts(), []) == []


def test_a_machine_without_a_gpu_is_told_apart_from_a_broken_driver() -> None:
    (none,) = judge(facts(gpu=gpu_state("no_tool")), [])
    (broken,) = judge(facts(gpu=gpu_state("driver_broken", message="couldn't communicate with the driver")), [])
    assert "CPU host" in none.text
    assert "couldn't communicate" in broken.text and "Restart" in broken.remedy


def test_more_gpus_than_there_are_is_a_refusal(jobs: list[ExpandedJob]) -> None:
    first = judge(facts(warnings=["low shm"]), jobs)[0]
    assert first.level == "refusal" and "asks for 2" in first.text and "has 1" in first.text


def test_a_lost_gpu_is_named() -> None:
    lost = {**GPU, "index": 1, "usable": False, "note": "GPU is lost"}
    (finding,) = judge(facts(gpu=gpu_state("ok", GPU, lost)), [])
    assert finding.text == "GPU 1 cannot be used: GPU is lost."


def test_torch_that_does_not_see_the_gpu_and_torch_that_is_broken_are_warned_of() -> None:
    blind = {**facts()["torch"], "available": False}
    (finding,) = judge(facts(torch=blind), [])
    assert "is_available() is False" in finding.text
    broken = {**blind, "version": None, "available": None, "error": "libcudart.so.12: cannot open shared object file"}
    (finding,) = judge(facts(torch=broken), [])
    assert "broken: libcudart" in finding.text


def test_torch_is_never_required() -> None:
    absent = {**facts()["torch"], "version": None, "available": None, "error": "No module named 'torch'"}
    assert judge(facts(torch=absent), []) == []


def test_little_disk_and_few_inodes_are_warned_of() -> None:
    disk = {"path": "/root", "free": 10**9, "total": 10**12, "inodes_free": 100, "inodes_total": 10**7}
    assert [finding.text for finding in judge(facts(disk=disk), [])] == [
        "little disk is left at /root.",
        "few inodes are left at /root.",
    ]


def test_processes_that_end_at_logout() -> None:
    (finding,) = judge(facts(user="bob", logout={"kills": True, "linger": False}), [])
    assert "bob" in finding.text and "loginctl enable-linger" in finding.remedy
    for harmless in (None, {"kills": True, "linger": True}, {"kills": False, "linger": False}):
        assert judge(facts(user="bob", logout=harmless), []) == []
