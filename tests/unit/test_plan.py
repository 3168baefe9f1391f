"""Placement: which host gets which job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RefusedError
from orchestrator.hosts.gpu_speed import UNKNOWN, speed
from orchestrator.plan import HostLoad, Waiting, Wish, balance, fits, place

BIG = HostLoad("big", (24564, 24564), free_gpus=2)
SMALL = HostLoad("small", (8192,), free_gpus=1)
CPU = HostLoad("cpu")


def test_free_gpus_come_before_short_queues() -> None:
    busy = HostLoad("busy", (24564,), free_gpus=0, queue=0)
    free = HostLoad("free", (24564,), free_gpus=1, queue=9)
    assert place([Wish("j", ("busy", "free"), 1)], {"busy": busy, "free": free}) == {"j": "free"}


def test_cells_spread_over_hosts() -> None:
    wishes = [Wish(f"j{n}", ("big", "small"), 1) for n in range(3)]
    placed = place(wishes, {"big": BIG, "small": SMALL})
    assert sorted(placed.values()) == ["big", "big", "small"]


def test_memory_has_five_percent_of_tolerance() -> None:
    assert fits(Wish("j", (), 1, 24576), HostLoad("h", (24564,)))
    assert not fits(Wish("j", (), 1, 24576), HostLoad("h", (20480,)))
    assert fits(Wish("j", (), 1, 24576), HostLoad("h", (None,))), "unknown memory is not too little"


def test_auto_takes_a_cpu_host_unless_memory_is_asked_for() -> None:
    assert fits(Wish("j", ()), CPU)
    assert not fits(Wish("j", (), "auto", 8000), CPU)


def test_what_can_never_run_is_refused_with_what_there_is() -> None:
    with pytest.raises(RefusedError, match=r"j asks for 4 GPU.*big has 2 GPU.*cpu has no GPU"):
        place([Wish("j", ("big", "cpu"), 4)], {"big": BIG, "cpu": CPU})


def test_unreachable_hosts_are_left_out() -> None:
    assert place([Wish("j", ("dead", "cpu"), 0)], {"cpu": CPU}) == {"j": "cpu"}
    with pytest.raises(RefusedError, match="no host for j can be reached"):
        place([Wish("j", ("dead",), 0)], {"cpu": CPU})


def test_faster_gpus_break_a_tie() -> None:
    slow, fast = (HostLoad(name, (24564,), 1, speed=tflops) for name, tflops in (("slow", 71.0), ("fast", 165.0)))
    assert place([Wish("j", ("slow", "fast"), 1)], {"slow": slow, "fast": fast}) == {"j": "fast"}


def test_speeds_go_by_the_model() -> None:
    assert speed("NVIDIA H100 80GB HBM3") > speed("NVIDIA A100-SXM4-80GB") > speed("NVIDIA GeForce RTX 3090")
    assert speed("NVIDIA GeForce RTX 4090 D") < speed("NVIDIA GeForce RTX 4090")
    assert speed("NVIDIA RTX A1000") == UNKNOWN


def test_half_a_gpu_needs_one_and_a_type_needs_its_own() -> None:
    assert not fits(Wish("j", (), 0.5), CPU)
    mixed = HostLoad("mixed", (24564, 24564), 2, gpu_names=("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090"))
    assert fits(Wish("j", (), 1, gpu_type="4090"), mixed)
    assert not fits(Wish("j", (), 2, gpu_type="4090"), mixed)
    assert not fits(Wish("j", (), gpu_type="A100"), mixed)
    with pytest.raises(RefusedError, match=r"of type A100, and that can never be met: mixed has 2 GPU.*RTX 3090 24564"):
        place([Wish("j", ("mixed",), gpu_type="A100")], {"mixed": mixed})


def waits(key: str, host: str, gpus: float | str = 1) -> Waiting:
    return Waiting(Wish(key, ("a", "b"), gpus), host)


def test_a_waiting_job_goes_where_a_gpu_is_free() -> None:
    loads = {"a": HostLoad("a", (1000,), 0, 3), "b": HostLoad("b", (1000,), 1, 0)}
    assert balance([waits("1", "a"), waits("2", "a")], loads) == {"1": "b"}


def test_queues_are_evened_out_and_then_left_alone() -> None:
    loads = {"a": HostLoad("a", (1000,), 0, 5), "b": HostLoad("b", (1000,), 0, 1)}
    assert len(balance([waits(str(n), "a") for n in range(4)], loads)) == 2
    even = {"a": HostLoad("a", (1000,), 0, 3), "b": HostLoad("b", (1000,), 0, 2)}
    assert balance([waits("1", "a")], even) == {}


def test_what_starts_at_once_or_may_go_nowhere_else_stays() -> None:
    loads = {"a": HostLoad("a", (1000,), 1, 1), "b": HostLoad("b", (1000,), 1, 0)}
    assert balance([waits("1", "a")], loads) == {}
    bound = Waiting(Wish("1", ("a",), 1), "a")
    assert balance([bound], {**loads, "a": HostLoad("a", (1000,), 0, 9)}) == {}


@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_job_is_placed_where_it_fits(gpus: list[int]) -> None:
    loads = {"big": HostLoad("big", (1000,) * 3, 3), "small": SMALL, "cpu": CPU}
    wishes = [Wish(str(n), ("cpu", "small", "big"), count) for n, count in enumerate(gpus)]
    placed = place(wishes, loads)
    assert set(placed) == {wish.key for wish in wishes}
    assert all(fits(wish, loads[placed[wish.key]]) for wish in wishes)
