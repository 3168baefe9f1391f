"""The pick: order, GPUs, memory, slots, and why the rest waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.run.scheduler import WHOLE, Candidate, Capacity, Plan, Waiting, pick, wanted_gpus
from remote_payload.agent.wire.gpu_names import of_type
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


def test_priority_goes_before_time() -> None:
    plan = run([job("early", 1), job("urgent", 2, priority=5), job("later", 3, priority=-5)], table(gpu(0), gpu(1)))
    assert started(plan) == ["urgent", "early"]


def test_a_waiting_urgent_job_is_not_overtaken_by_an_early_one() -> None:
    plan = run([job("early", 1), job("urgent", 2, gpus=2, priority=1)], table(gpu(0), gpu(1)), frozenset({"GPU-1"}))
    assert started(plan) == []


def halves(*names: str) -> list[Candidate]:
    return [job(name, at, share=50) for at, name in enumerate(names)]


def test_halves_fill_one_gpu_before_they_open_another() -> None:
    plan = run(halves("a", "b", "c"), table(gpu(0), gpu(1)))
    assert [[one["index"] for one in launch.gpus] for launch in plan.launches] == [[0], [0], [1]]


def test_a_whole_job_never_gets_a_shared_gpu_and_a_share_never_a_whole_one() -> None:
    gpus = table(gpu(0))
    assert started(pick([job("whole", 1)], Capacity(gpus, frozenset(), 1, 0, shared={"GPU-0": 30}), NOW)) == []
    assert started(run(halves("half"), gpus, frozenset({"GPU-0"}))) == []


def test_shares_go_beside_each_other_although_the_gpu_is_busy_with_them() -> None:
    capacity = Capacity(table(gpu(0, used=8000, busy=90)), frozenset(), 1, 0, shared={"GPU-0": 50})
    assert started(pick([job("half", 1, share=50)], capacity, NOW)) == ["half"]
    assert started(pick([job("more", 1, share=60)], capacity, NOW)) == []
    assert started(pick([job("large", 1, memory=20000, share=50)], capacity, NOW)) == [], "its memory is not free"


def test_the_type_of_gpu() -> None:
    gpus = table({**gpu(0), "name": "NVIDIA GeForce RTX 3090"}, {**gpu(1), "name": "NVIDIA GeForce RTX 4090"})
    plan = run([job("new", 1, gpu_type="rtx-4090"), job("none", 2, gpu_type="A100")], gpus)
    assert [launch.gpus[0]["index"] for launch in plan.launches] == [1]
    assert "type A100" in plan.waiting["none"].detail and "3090" in plan.waiting["none"].detail


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100", True),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4", True),
        ("NVIDIA RTX A1000", "A100", False),
        ("NVIDIA GeForce RTX 4090 D", "4090", True),
        ("NVIDIA GeForce RTX 4090", "090", False),
        ("Tesla V100", "", True),
        ("Tesla V100", "[V].*", True),
    ],
)
def test_names_of_types(name: str, wanted: str, found: bool) -> None:
    assert of_type(name, wanted) is found


def test_at_most_so_many_of_a_group_and_others_pass() -> None:
    cells = [job(f"cell{n}", n, gpus=0, group="g", max_parallel=2) for n in range(3)]
    capacity = Capacity(None, frozenset(), 9, 1, live={"g": 1})
    plan = pick([*cells, job("other", 9, gpus=0, group="h")], capacity, NOW)
    assert started(plan) == ["cell0", "other"]
    assert plan.waiting["cell1"] == Waiting("max_parallel", "2 at once")


def test_no_more_gpus_than_this_spool_may_take() -> None:
    capacity = Capacity(table(gpu(0), gpu(1), gpu(2)), frozenset(), 1, 0, spare=1)
    assert started(pick([job("a", 1), job("b", 2)], capacity, NOW)) == ["a"]
    shared = capacity._replace(spare=0, shared={"GPU-0": 50})
    assert started(pick(halves("beside"), shared, NOW)) == ["beside"], "a share of a GPU already taken takes none"


def test_a_gpu_that_keeps_its_memory_is_called_dirty() -> None:
    capacity = Capacity(table(gpu(0, used=9000), gpu(1, used=9000)), frozenset(), 1, 0, dirty={"GPU-0": 9000})
    plan = pick([job("a", 1)], capacity, NOW)
    assert plan.waiting["a"].detail == "it wants 1 of 2: 1 used by others, 1 dirty (9000 MiB, owner unseen)"


GPUS = st.lists(
    st.builds(gpu, st.integers(0, 7), used=st.sampled_from([0, 400, 9000, None])),
    max_size=4,
    unique_by=lambda g: g["index"],
)
JOBS = st.lists(
    st.builds(
        job, st.uuids().map(str), st.integers(0, 9), gpus=st.sampled_from([0, 1, 2, "auto"]),
        order=st.integers(0, 3), priority=st.integers(-2, 2), group=st.sampled_from("gh"),
        max_parallel=st.integers(0, 2),
    )
    | st.builds(job, st.uuids().map(str), st.integers(0, 9), share=st.sampled_from([20, 33, 50, 90])),
    max_size=8,
)  # fmt: skip


@given(GPUS, JOBS, st.integers(0, 3), st.none() | st.integers(0, 3))
def test_nothing_is_given_twice(gpus: list[GpuView], jobs: list[Candidate], slots: int, spare: int | None) -> None:
    plan = pick(jobs, Capacity(table(*gpus), frozenset(), slots, 0, spare=spare), NOW)
    whole = [one["uuid"] for launch in plan.launches if launch.share == WHOLE for one in launch.gpus]
    shares: dict[str, int] = {}
    for launch in plan.launches:
        for one in launch.gpus if launch.share < WHOLE else ():
            shares[one["uuid"]] = shares.get(one["uuid"], 0) + launch.share
    assert len(whole) == len(set(whole)) and not set(whole) & set(shares)
    assert all(taken <= WHOLE for taken in shares.values())
    assert sum(1 for launch in plan.launches if not launch.gpus) <= slots
    assert spare is None or len(whole) + len(shares) <= spare
    assert sorted([*started(plan), *plan.waiting]) == sorted(each.job for each in jobs)
