"""The queue with real keepers: order, needs, groups, retries, parts of a GPU, a paused host."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.machine.gpu import read_gpus
from remote_payload.agent.run.gpus import GpuWatch
from remote_payload.agent.spool import atomic, finals, gpu_use
from remote_payload.agent.spool.submissions import Submissions
from remote_payload.agent.spool.views import Views
from tests.harness.waiting import wait_until
from tests.integration.keeper_host import KeeperHost, unpack_agent
from tests.integration.stand_in_gpu import StandInGpus


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_agent(tmp_path_factory.mktemp("agent"))


@pytest.fixture
def host(agent: Path, tmp_path: Path) -> Iterator[KeeperHost]:
    made = KeeperHost(agent, tmp_path)
    try:
        yield made
    except BaseException:
        sys.stderr.write(made.trouble())
        raise
    finally:
        made.close()


@pytest.fixture
def gpu(host: KeeperHost) -> Iterator[StandInGpus]:
    with StandInGpus(host.tools) as made:
        yield made


def held(host: KeeperHost, job: str) -> dict[str, Any]:
    return wait_until(lambda: host.waiting().get(job) or {}, 20, f"why {job} waits")


def test_priority_then_submission(host: KeeperHost, gpu: StandInGpus, tmp_path: Path) -> None:
    first = host.spec(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done", gpus=1)
    write = f"echo $ORCH_JOB_NAME >> {tmp_path}/order"
    low, plain, high = (
        host.spec(write, gpus=1, name=name, priority=p) for name, p in (("low", -1), ("plain", 0), ("high", 7))
    )
    host.submit(first)
    host.started(first["id"])
    host.submit(low, plain, high)
    held(host, low["id"])
    (tmp_path / "go").touch()
    host.idle()
    assert (tmp_path / "order").read_text().split() == ["high", "plain", "low"]


def test_a_job_starts_when_what_it_needs_succeeded_and_finds_its_outputs(host: KeeperHost, tmp_path: Path) -> None:
    go = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; "
    one, two = (
        host.spec(go + "echo $ORCH_JOB_NAME > $ORCH_OUTPUT_DIR/made", job="prep", name=f"prep.{n}") for n in (1, 2)
    )
    single = host.spec(go + "echo data > $ORCH_OUTPUT_DIR/made", job="get-data", name="get-data")
    train = host.spec(
        "cat $ORCH_NEED_GET_DATA/made $ORCH_NEED_PREP/*/made",
        needs=[{"job": "prep", "ids": [one["id"], two["id"]]}, {"job": "get-data", "ids": [single["id"]]}],
    )
    host.submit(train, one, two, single)
    assert held(host, train["id"]) == {"reason": "needs", "detail": "prep, get-data"}
    (tmp_path / "go").touch()
    assert host.ended(train["id"])["reason"] == "exit_zero"
    assert host.log(train["id"]).split() == ["data", "prep.1", "prep.2"]


def test_a_failed_need_ends_what_depends_on_it_and_all_that_depends_on_that(host: KeeperHost) -> None:
    bad = host.spec("exit 1", job="prep")
    middle = host.spec("true", job="middle", needs=[{"job": "prep", "ids": [bad["id"]]}])
    last = host.spec("true", needs=[{"job": "middle", "ids": [middle["id"]]}])
    host.submit(bad, middle, last)
    end = host.ended(last["id"])
    assert (end["reason"], end["detail"], end["started"]) == ("dependency_failed", "middle is FAILED", False)
    assert host.ended(middle["id"])["detail"] == "prep is FAILED"
    host.idle()


def test_no_more_cells_at_once_than_max_parallel(host: KeeperHost, gpu: StandInGpus, tmp_path: Path) -> None:
    text = f"mkdir {tmp_path}/only; sleep 0.2; rmdir {tmp_path}/only"
    cells = [host.spec(text, name=f"train.{n}", gpus=0.2, max_parallel=1) for n in range(3)]
    host.submit(*cells)
    assert [host.ended(cell["id"])["reason"] for cell in cells] == ["exit_zero"] * 3


def test_after_max_failures_the_rest_is_held_until_they_are_tried_again(host: KeeperHost, tmp_path: Path) -> None:
    text = f"[ -e {tmp_path}/mended ]"
    cells = [host.spec(text, name=f"train.{n}", max_parallel=1, max_failures=2) for n in range(4)]
    host.submit(*cells)
    assert held(host, cells[3]["id"])["reason"] == "max_parallel"
    wait_until(lambda: host.waiting().get(cells[3]["id"], {}).get("reason") == "failures_held", 20, "held")
    assert host.waiting()[cells[2]["id"]]["detail"] == "2 failed"
    (tmp_path / "mended").touch()
    for cell in cells[:2]:
        atomic.create_json(host.paths.job(cell["id"]).retry("again"), {"at": 0.0, "after": 1})
    host.poke()
    assert [host.ended(cell["id"], n)["reason"] for cell, n in zip(cells, (2, 2, 1, 1), strict=True)] == [
        "exit_zero"
    ] * 4
    host.idle()


def test_a_policy_tries_again_in_the_same_workdir(host: KeeperHost) -> None:
    text = """
    echo "attempt $ORCH_ATTEMPT resume ${ORCH_RESUME:-no} $(cat checkpoint 2>/dev/null)"
    echo saved > checkpoint; echo out >> $ORCH_OUTPUT_DIR/all
    if [ $ORCH_ATTEMPT -lt 3 ]; then echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate"; exit 1; fi
    """
    job = host.spec(text, retry={"max": 2, "on": ["oom"], "backoff": 0.2})
    other = host.spec("exit 1", retry={"max": 2, "on": ["oom"], "backoff": 0.0})
    host.submit(job, other)
    assert host.ended(job["id"], 3)["reason"] == "exit_zero"
    assert [host.log(job["id"], n).splitlines()[0] for n in (1, 2, 3)] == [
        "attempt 1 resume no ",
        "attempt 2 resume 1 saved",
        "attempt 3 resume 1 saved",
    ]
    assert host.ended(job["id"], 1)["reason"] == "out_of_memory"
    ends = [host.ended(job["id"], n)["ended_at"] for n in (1, 2)]
    starts = [host.started(job["id"], n)["started_at"] for n in (2, 3)]
    assert starts[0] - ends[0] >= 0.19 and starts[1] - ends[1] >= 0.39
    host.idle()
    assert not Path(host.attempt(other["id"], 2).folder).exists()


def test_the_pause_before_the_next_try_is_told(host: KeeperHost) -> None:
    job = host.spec("exit 1", retry={"max": 1, "on": ["exit"], "backoff": 600.0})
    host.submit(job)
    assert held(host, job["id"])["reason"] == "backoff"
    view = Views(host.paths).views([job])[0]
    assert view["waiting_for"] == "backoff"
    head, seconds, unit = view["detail"].rsplit(" ", 2)
    assert (head, unit) == ("attempt 2 in", "s") and 500 < int(seconds) <= 600


def test_two_halves_run_beside_each_other_and_a_whole_one_waits(
    host: KeeperHost, gpu: StandInGpus, tmp_path: Path
) -> None:
    text = f"echo $CUDA_VISIBLE_DEVICES; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    halves = [host.spec(text, gpus=0.5, name=f"half.{n}") for n in (1, 2)]
    third, whole = host.spec("true", gpus=0.5), host.spec("true", gpus=1)
    host.submit(*halves, third, whole)
    for half in halves:
        host.printed(half["id"], "0")
    gpu.use(9000, busy=80)
    assert held(host, third["id"])["detail"] == "it wants 0.5 of 1: 1 leased"
    assert held(host, whole["id"])["reason"] == "no_gpu"
    gpu.use(1)
    (tmp_path / "go").touch()
    assert [host.ended(job["id"])["reason"] for job in (third, whole)] == ["exit_zero"] * 2
    host.idle()


def test_a_keeper_that_comes_later_knows_the_parts(host: KeeperHost, gpu: StandInGpus, tmp_path: Path) -> None:
    text = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    first, second = host.spec(text, gpus=0.6), host.spec("true", gpus=0.6)
    host.submit(first)
    host.started(first["id"])
    host.keepers[0].kill()
    host.keepers[0].wait()
    host.submit(second)
    assert held(host, second["id"])["reason"] == "no_gpu"
    (tmp_path / "go").touch()
    assert host.ended(second["id"])["reason"] == "exit_zero"


def test_a_paused_host_starts_nothing_and_goes_on(host: KeeperHost) -> None:
    atomic.create_json(host.paths.paused, {"at": 0.0, "by": "me"})
    job = host.spec("true")
    host.submit(job)
    assert held(host, job["id"])["reason"] == "host_paused"
    Path(host.paths.paused).unlink()
    host.poke()
    assert host.ended(job["id"])["reason"] == "exit_zero"


def test_only_the_gpus_the_host_allows(host: KeeperHost) -> None:
    atomic.write_json(host.paths.profile, {**host.profile, "gpus": [1, 2], "max_gpus": 1})
    with StandInGpus(host.tools, ("A", "B", "C")):
        first, second = host.spec("echo $CUDA_VISIBLE_DEVICES; sleep 0.5", gpus=1), host.spec("true", gpus=1)
        never = host.spec("true", gpus=3)
        host.submit(never, first, second)
        host.printed(first["id"], "1")
        assert held(host, second["id"])["reason"] == "no_gpu"
        assert held(host, never["id"])["detail"] == "it wants 3 GPUs, this host has 2"
        assert host.ended(second["id"])["reason"] == "exit_zero"
        host.cancel(never["id"])
        host.idle()


def test_an_odd_spec_is_set_aside_and_the_rest_goes_on(host: KeeperHost) -> None:
    odd, good = host.spec("true", gpus=1.5), host.spec("true")
    host.submit(odd, good)
    assert host.ended(good["id"])["reason"] == "exit_zero"
    assert f"{odd['id']} is set aside" in host.trouble()


def test_silence_ends_an_attempt_and_output_keeps_it(host: KeeperHost) -> None:
    silent = host.spec("trap 'exit 0' TERM; echo hello; sleep 60 & wait", no_output=0.6, grace=2.0)
    busy = host.spec("for i in 1 2 3 4; do echo $i; sleep 0.3; done", no_output=0.8)
    host.submit(silent, busy)
    end = host.ended(silent["id"])
    assert end["reason"] == "no_output"
    assert "printed nothing for 0.6 s" in host.log(silent["id"])
    assert host.ended(busy["id"])["reason"] == "exit_zero"


def test_the_gpus_of_an_attempt_are_sampled(host: KeeperHost, gpu: StandInGpus, tmp_path: Path) -> None:
    gpu.use(4, busy=2)
    job = host.spec(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done", gpus=1)
    host.submit(job)
    place = host.attempt(job["id"])
    host.started(job["id"])
    (sample,) = wait_until(lambda: gpu_use.read_tail(place.gpu_use), 20, "a sample")
    assert (sample["uuid"], sample["mem"], sample["util"]) == (gpu.uuids[0], 4, 2)
    # Two minutes later:
    for ago in (130, 60, 1):
        gpu_use.append(place.gpu_use, read_gpus(path=str(host.tools))["gpus"], time.time() - ago)
    view = Views(host.paths).view(job, {})
    assert [hint["key"] for hint in view["hints"]] == ["gpu_unused"]
    (tmp_path / "go").touch()
    host.idle()
    assert Views(host.paths).view(job, {})["hints"] == []


def test_another_hosts_queue_rests_until_it_is_adopted(host: KeeperHost) -> None:
    job = host.spec("true")
    atomic.write_json(host.paths.host, {"host_id": "h-another", "boot": {}})
    host.store(job)
    assert host.start_keeper().wait(20) == 0
    assert "belongs to another host" in host.trouble()
    assert not Path(host.paths.job(job["id"]).attempts).exists()
    atomic.write_json(host.paths.host, {"host_id": host.host_id, "boot": {}})
    host.start_keeper()
    assert host.ended(job["id"])["reason"] == "exit_zero"


def test_a_keeper_leaves_a_queue_that_another_host_took(host: KeeperHost) -> None:
    atomic.create_json(host.paths.paused, {"at": 0.0, "by": "me"})
    job = host.spec("true")
    host.store(job)
    keeper = host.start_keeper()
    assert held(host, job["id"])["reason"] == "host_paused"
    atomic.write_json(host.paths.host, {"host_id": "h-another", "boot": {}})
    Path(host.paths.paused).unlink()
    assert keeper.wait(20) == 0
    assert not Path(host.paths.job(job["id"]).attempts).exists()


def test_what_ran_on_the_host_before_is_lost_and_tried_again_here(host: KeeperHost, tmp_path: Path) -> None:
    job = host.spec("echo again", retry={"max": 1, "on": ["host"], "backoff": 0.0})
    host.store(job)
    place = host.attempt(job["id"])
    Path(place.folder).mkdir(parents=True)
    # A pid of the other host that lives on this one too: it must be left alone.
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    start = {"pid": stranger.pid, "sid": stranger.pid, "start_ticks": 1, "started_at": 1.0, "host_id": "h-another"}
    atomic.write_json(place.start, {**start, "boot": {"id": "x", "pid1_start": "1"}, "marker": "m", "gpus": []})
    host.start_keeper()
    assert host.ended(job["id"])["reason"] == "host_replaced"
    assert host.ended(job["id"], 2)["reason"] == "exit_zero"
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_gpu_is_dirty_a_minute_after_its_attempt_when_its_memory_did_not_come_back(
    host: KeeperHost, gpu: StandInGpus
) -> None:
    watch = GpuWatch("me")
    watch.path = str(host.tools)
    gpu.use(9000)
    watch.holds({gpu.uuids[0]}, 0.0)
    watch.ask(0.0)
    assert watch.dirty(100.0) == {}, "it is leased"
    watch.holds(set(), 100.0)
    assert watch.dirty(159.0) == {}
    assert watch.dirty(160.0) == {gpu.uuids[0]: 9000}
    gpu.use(3)
    watch.ask(170.0)
    assert watch.dirty(170.0) == {}
    gpu.use(9000)
    watch.ask(400.0)
    assert watch.dirty(400.0) == {}, "whoever uses it now is somebody else"


def test_memory_is_looked_at_oftener_while_it_is_being_freed(host: KeeperHost, gpu: StandInGpus) -> None:
    watch = GpuWatch("me")
    watch.path = str(host.tools)
    gpu.use(9000)
    watch.holds(set(gpu.uuids), 0.0)
    watch.stir(0.0)
    watch.ask(0.0)
    watch.holds(set(), 50.0)
    gpu.use(3)
    assert watch.freeing(50.0)
    (late,) = watch.table(set(), 50.3)["gpus"]
    assert late["memory_used_mib"] == 3, "what was seen before it was given back is old"
    gpu.use(9000)
    assert watch.table(set(), 50.5)["gpus"][0]["memory_used_mib"] == 3, "asked 0.2 s ago"
    assert watch.table(set(), 50.8)["gpus"][0]["memory_used_mib"] == 9000
    gpu.use(3)
    assert not watch.freeing(60.5), "it takes long: once a second is enough"
    watch.ask(61.0)
    watch.dirty(61.0)
    assert not watch.freeing(51.0), "it is free"


def test_a_later_keeper_passes_over_history_and_sees_who_came_back(host: KeeperHost) -> None:
    old, failed = host.spec("true"), host.spec("echo $ORCH_ATTEMPT; exit 1", max_failures=1)
    host.submit(old, failed)
    host.idle()
    known = finals.load(host.paths)
    assert {job: final.failed for job, final in known.jobs.items()} == {old["id"]: False, failed["id"]: True}
    # What it passes over is not read: a file that cannot be read does no harm.
    Path(host.attempt(old["id"]).end).write_text("{")
    atomic.create_json(host.paths.job(failed["id"]).retry("again"), {"at": 0.0, "after": 1})
    host.submit(new := host.spec("true"))
    assert host.ended(new["id"])["reason"] == "exit_zero"
    assert host.ended(failed["id"], 2)["reason"] == "exit_nonzero"
    host.idle()
    assert old["id"] not in host.trouble()
    assert set(finals.load(host.paths).jobs) == {old["id"], failed["id"], new["id"]}


def test_submissions_that_are_over_are_not_read_until_somebody_asks(host: KeeperHost) -> None:
    old, live = host.spec("true"), host.spec("sleep 300")
    host.submit(old)
    host.idle()
    host.submit(live)
    host.started(live["id"])
    book = Submissions(host.paths)
    assert [spec["id"] for spec in book.refresh()] == [live["id"]]
    assert [spec["id"] for spec in book.recent(float("inf"))] == [live["id"]]
    assert book.find(old["id"]) is not None
    asked = Submissions(host.paths)
    asked.refresh()
    assert (
        {spec["id"] for spec in asked.recent(0.0)} == {spec["id"] for spec in asked.jobs()} == {old["id"], live["id"]}
    )
    # Once it is to be tried again it is among what is not over, for who has looked before as well.
    waiting = Submissions(host.paths)
    waiting.refresh()
    atomic.create_json(host.paths.job(old["id"]).retry("again"), {"at": 0.0, "after": 1})
    assert old["id"] in [spec["id"] for spec in waiting.recent(float("inf"))]
