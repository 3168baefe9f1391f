"""Placement: which host gets which job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RefusedError
from orchestrator.plan import HostLoad, Wish, fits, place

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


@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_job_is_placed_where_it_fits(gpus: list[int]) -> None:
    loads = {"big": HostLoad("big", (1000,) * 3, 3), "small": SMALL, "cpu": CPU}
    wishes = [Wish(str(n), ("cpu", "small", "big"), count) for n, count in enumerate(gpus)]
    placed = place(wishes, loads)
    assert set(placed) == {wish.key for wish in wishes}
    assert all(fits(wish, loads[placed[wish.key]]) for wish in wishes)
