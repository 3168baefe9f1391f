"""The pick: order, GPUs, memory, slots, and why the rest waits."""

from __future__ import annotations

import pytest

from remote_payload.agent.run.scheduler import Candidate, Capacity, Plan, Waiting, pick, wanted_gpus
from remote_payload.agent.wire.messages import GpuTable, GpuView

NOW = 1000.0


def gpu(index: int, total: int | None = 24564, used: int | None = 1, busy: int | None = 0) -> GpuView:
    return GpuView(
        index=index,
        uuid=f"GPU-{index}",
        name="card",
        memory_total_mib=total,
        memory_used_mib=used,
        utilization_pct=busy,
        temperature_c=None,
        power_w=None,
        driver=None,
        leased_to=None,
        usable=True,
        note="",
    )


def table(*gpus: GpuView, state: str = "ok", message: str = "") -> GpuTable:
    return GpuTable(state=state, message=message, gpus=list(gpus), cuda=None)


def job(name: str, at: float, gpus: object = 1, order: int = 0, memory: int = 0, **more: object) -> Candidate:
    return Candidate(name, at, order, gpus, memory, **more)  # type: ignore[arg-type]


def run(jobs: list[Candidate], gpus: GpuTable | None, leased: frozenset[str] = frozenset(), slots: int = 1) -> Plan:
    return pick(jobs, Capacity(gpus, leased, slots, 0), NOW)


def started(plan: Plan) -> list[str]:
    return [launch.job for launch in plan.launches]


def test_first_come_first_served_by_time_then_order() -> None:
    plan = run([job("c", 2), job("b", 1, order=1), job("a", 1, order=0)], table(gpu(0), gpu(1)))
    assert started(plan) == ["a", "b"]
    assert plan.waiting["c"].reason == "no_gpu"


def test_a_small_gpu_job_does_not_overtake_a_waiting_large_one() -> None:
    plan = run([job("large", 1, gpus=2), job("small", 2)], table(gpu(0), gpu(1)), leased=frozenset({"GPU-0"}))
    assert started(plan) == []
    assert set(plan.waiting) == {"large", "small"}


def test_cpu_jobs_never_wait_behind_gpu_jobs() -> None:
    plan = run([job("gpu", 1, gpus=1), job("cpu", 2, gpus=0)], table(gpu(0)), leased=frozenset({"GPU-0"}))
    assert started(plan) == ["cpu"]


def test_cpu_slots_are_counted() -> None:
    jobs = [job("a", 1, gpus=0), job("b", 2, gpus=0), job("c", 3, gpus="auto")]
    plan = run(jobs, table(state="no_tool"), slots=2)
    assert started(plan) == ["a", "b"]
    assert plan.waiting["c"].reason == "no_cpu"


def test_a_job_that_can_never_run_holds_up_nobody() -> None:
    plan = run([job("huge", 1, gpus=4), job("fat", 2, memory=80000), job("fits", 3)], table(gpu(0)))
    assert started(plan) == ["fits"]
    assert "wants 4 GPUs, this host has 1" in plan.waiting["huge"].detail
    assert "80,000 MiB" in plan.waiting["fat"].detail


def test_a_blocked_job_says_why_and_holds_up_nobody() -> None:
    plan = run([job("a", 1, blocked=Waiting("env_building")), job("b", 2)], table(gpu(0)))
    assert started(plan) == ["b"]
    assert plan.waiting["a"].reason == "env_building"


def test_memory_has_five_percent_tolerance_and_means_free_memory() -> None:
    cards = table(gpu(0, total=24564), gpu(1, total=12288), gpu(2, total=24564, used=400))
    assert run([job("a", 1, memory=24576)], cards).launches[0].gpus[0]["index"] == 0
    assert run([job("a", 1, memory=8000)], cards).launches[0].gpus[0]["index"] == 1
    assert started(run([job("a", 1, memory=24300)], table(gpu(0, used=499)))) == ["a"]


@pytest.mark.parametrize(
    ("used", "busy", "free"),
    [(500, 4, True), (501, 0, False), (0, 5, False), (None, None, True), (None, 97, False), (3, None, True)],
)
def test_gpus_used_by_others_are_left_alone(used: int | None, busy: int | None, free: bool) -> None:
    total = None if used is None else 24564
    assert bool(run([job("a", 1)], table(gpu(0, total=total, used=used, busy=busy))).launches) is free


def test_an_unusable_or_nameless_gpu_is_never_chosen() -> None:
    lost, nameless = gpu(0), gpu(1)
    lost["usable"] = False
    nameless["uuid"] = ""
    assert not run([job("a", 1)], table(lost, nameless)).launches


def test_auto_means_a_gpu_where_there_is_one_and_waits_while_the_driver_is_broken() -> None:
    assert wanted_gpus("auto", table(gpu(0))) == 1
    assert wanted_gpus("auto", table(state="no_device")) == 0
    assert wanted_gpus("auto", None) is None
    plan = run([job("a", 1, gpus="auto")], table(state="driver_broken", message="reboot the host"))
    assert plan.waiting["a"] == Waiting("no_gpu", "reboot the host")


def test_two_gpus_go_to_one_job_in_index_order_and_not_to_another() -> None:
    plan = run([job("a", 1, gpus=2), job("b", 2)], table(gpu(1), gpu(0), gpu(2)))
    assert [[each["index"] for each in launch.gpus] for launch in plan.launches] == [[0, 1], [2]]


def test_backoff_is_a_reason_to_wait() -> None:
    assert run([job("a", 1, not_before=NOW + 1)], table(gpu(0))).waiting["a"].reason == "backoff"
