"""Setups and GPUs with real keepers: built once, failing clearly, one GPU given to one job at a time."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.run import envbuild
from remote_payload.agent.run.environments import Resolved, resolve_python
from remote_payload.agent.spool import atomic, secrets
from remote_payload.agent.spool.views import Views
from remote_payload.agent.wire.messages import JobSpec
from tests.harness.waiting import wait_until
from tests.integration.keeper_host import KeeperHost, pid_lives, read_pid, unpack_agent
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


def with_setup(host: KeeperHost, setup: str, run: str, files: list[str] | None = None) -> JobSpec:
    return host.spec(run, setup={"run": setup, "files": files or []})


def digest_of(host: KeeperHost, job: str) -> str:
    record = wait_until(lambda: atomic.read_json(host.paths.job(job).env) or {}, 20, "env.json")
    return str(record["digest"])


def test_a_setup_is_run_once_for_all_jobs_that_share_it(host: KeeperHost, tmp_path: Path) -> None:
    setup = f"cat need.txt; cat; echo $PIP_NO_INPUT >> {tmp_path}/times; sleep 0.3"
    jobs = [with_setup(host, setup, "echo run", ["need.txt"]) for _ in range(3)]
    host.submit(*jobs, files={"need.txt": "needed\n"})
    wait_until(lambda: host.waiting().get(jobs[2]["id"], {}).get("reason") == "env_building", 20, "env_building")
    for job in jobs:
        assert host.ended(job["id"])["reason"] == "exit_zero"
    assert (tmp_path / "times").read_text() == "1\n"
    place = host.paths.env(digest_of(host, jobs[0]["id"]))
    assert Path(place.log).read_text() == "needed\n"
    later = with_setup(host, setup, "echo again", ["need.txt"])
    host.submit(later, files={"need.txt": "needed\n", "other.txt": "changes nothing"})
    assert host.ended(later["id"])["reason"] == "exit_zero"
    assert (tmp_path / "times").read_text() == "1\n"
    host.idle()


def test_what_a_setup_does_is_seen_while_it_runs(host: KeeperHost, tmp_path: Path) -> None:
    setup = f"echo one; printf 'got 10%%\\rgot 40%%\\r'; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    job = with_setup(host, setup, "echo ran")
    host.submit(job)
    views = Views(host.paths)

    def at_last_line() -> dict[str, Any] | None:
        (view,) = views.views([job])
        progress = view["progress"] if view["waiting_for"] == "env_building" else None
        return progress if progress and progress["text"] == "got 40%" else None

    progress = wait_until(at_last_line, 20, "the last line of the setup")
    assert progress is not None
    assert 0 <= progress["elapsed_s"] < 60
    (tmp_path / "go").touch()
    assert host.ended(job["id"])["reason"] == "exit_zero"
    assert views.views([job])[0]["progress"] is None
    host.idle()


def test_a_failing_setup_ends_the_attempt_and_a_retry_runs_it_again(host: KeeperHost, tmp_path: Path) -> None:
    setup = f"echo trying; [ -e {tmp_path}/fixed ] || {{ echo 'ERROR: no such package'; exit 7; }}"
    job = with_setup(host, setup, "echo ran")
    host.submit(job)
    end = host.ended(job["id"])
    assert (end["reason"], end["exit_code"], end["detail"], end["started"]) == (
        "setup_failed",
        7,
        "ERROR: no such package",
        False,
    )
    assert host.log(job["id"]) == "trying\nERROR: no such package\n"
    (tmp_path / "fixed").touch()
    atomic.write_json(host.paths.job(job["id"]).retry("r-1"), {"at": end["ended_at"] + 0.001, "after": 1})
    host.start_keeper()
    assert host.ended(job["id"], 2)["reason"] == "exit_zero"


def test_a_missing_environment_is_named(host: KeeperHost) -> None:
    plain = host.spec("echo no", python={"kind": "conda", "name": "nowhere"})
    built = with_setup(host, "echo no", "echo no")
    built["python"] = {"kind": "conda", "name": "nowhere"}
    host.submit(plain, built)
    for job in (plain, built):
        end = host.ended(job["id"])
        assert end["reason"] == "environment_missing"
        assert "nowhere" in end["detail"]


def test_a_builder_that_is_killed_is_replaced_and_leaves_nothing(host: KeeperHost, tmp_path: Path) -> None:
    setup = f"[ -e {tmp_path}/pid ] || {{ sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300'; }}"
    job = with_setup(host, setup, "echo ran")
    host.submit(job)
    inner = read_pid(tmp_path / "pid")
    building = host.paths.env(digest_of(host, job["id"])).building
    builder = wait_until(lambda: envbuild.builder_pid(building) or 0, 10, "builder")
    os.kill(builder, signal.SIGKILL)
    assert host.ended(job["id"])["reason"] == "exit_zero"
    assert not pid_lives(inner)


def test_a_setup_nobody_waits_for_is_stopped(host: KeeperHost, tmp_path: Path) -> None:
    job = with_setup(host, f"echo $$ > {tmp_path}/pid; sleep 300", "echo never")
    host.submit(job)
    shell = read_pid(tmp_path / "pid")
    host.cancel(job["id"])
    wait_until(lambda: not pid_lives(shell), 20, "the setup ends")
    host.idle()
    place = host.paths.env(digest_of(host, job["id"]))
    assert not Path(place.ready).exists()
    assert not Path(place.failed).exists()


def test_a_python_that_cannot_be_installed_into_gets_a_venv_on_top(host: KeeperHost) -> None:
    found = resolve_python({"kind": "path", "path": os.path.realpath(sys.executable)})
    system = found._replace(kind="system", externally_managed=True)
    spec = with_setup(host, "python -c 'import sys; print(sys.prefix)'; python -m pip --version", "")
    spec["snapshot"] = host.store_tree({})
    place = host.paths.env("ab" * 32)
    atomic.make_folder(place.folder)
    atomic.write_json(place.request, envbuild.request_of(spec, system))
    host.run_agent("build-env", host.paths.root, "ab" * 32)
    ready = atomic.read_json(place.ready)
    assert ready is not None, Path(place.log).read_text()
    made = Resolved(**ready["resolved"])
    assert (made.kind, made.prefix) == ("venv", place.venv)
    assert place.venv in Path(place.log).read_text().splitlines()
    assert "cannot be installed into: making a venv" in Path(place.log).read_text()


def test_secrets_reach_the_job_and_are_gone_when_it_is_final(host: KeeperHost) -> None:
    job = host.spec("echo ${#API_KEY}", secrets=[{"name": "API_KEY", "optional": False, "at_rest": "disk"}])
    host.submit(job)
    wait_until(lambda: host.waiting().get(job["id"], {}).get("reason") == "secret_needed", 20, "secret_needed")
    secrets.store(host.paths, job, {"API_KEY": "12345"})
    host.start_keeper()
    assert host.ended(job["id"])["reason"] == "exit_zero"
    assert host.log(job["id"]) == "5\n"
    wait_until(lambda: secrets.missing(host.paths, job), 10, "the secret is removed")


@pytest.fixture
def gpu(host: KeeperHost) -> Iterator[StandInGpus]:
    with StandInGpus(host.tools) as made:
        yield made


def test_two_jobs_on_one_gpu_run_one_after_another(host: KeeperHost, gpu: StandInGpus, tmp_path: Path) -> None:
    text = f"""
    [ ! -e {tmp_path}/busy ]; touch {tmp_path}/busy
    echo "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"
    while [ ! -e {tmp_path}/go-$ORCH_JOB_NAME ]; do sleep 0.05; done; rm {tmp_path}/busy
    """
    first, second = host.spec(text, name="a", gpus=1), host.spec(text, name="b", gpus="auto")
    beside = host.spec('echo "[$CUDA_VISIBLE_DEVICES]"')
    host.submit(first, second, beside)
    host.printed(first["id"], "0 PCI_BUS_ID")
    wait_until(lambda: host.waiting().get(second["id"], {}).get("reason") == "no_gpu", 20, "no_gpu")
    assert host.ended(beside["id"])["reason"] == "exit_zero"
    assert host.log(beside["id"]) == "[]\n"
    lease = atomic.read_json(host.attempt(first["id"]).lease)
    assert lease is not None
    assert lease["gpus"] == [{"index": 0, "uuid": gpu.uuids[0], "share": 100}]
    (tmp_path / "go-a").touch()
    (tmp_path / "go-b").touch()
    ends = [host.ended(job["id"]) for job in (first, second)]
    assert [end["reason"] for end in ends] == ["exit_zero", "exit_zero"]
    starts = [host.started(job["id"]) for job in (first, second)]
    assert starts[1]["started_at"] > ends[0]["ended_at"]
    assert starts[1]["started_at"] - ends[0]["ended_at"] < 1.5
    host.idle()


def test_a_gpu_others_use_is_left_alone_until_its_memory_is_free(host: KeeperHost, gpu: StandInGpus) -> None:
    gpu.use(9000)
    job = host.spec("echo ran", gpus=1)
    host.submit(job)
    wait_until(lambda: "used by others" in host.waiting().get(job["id"], {}).get("detail", ""), 20, "used by others")
    gpu.use(3)
    assert host.ended(job["id"])["reason"] == "exit_zero"


def test_a_killed_supervisors_gpu_is_given_on_only_when_its_processes_are_gone(
    host: KeeperHost, gpu: StandInGpus, tmp_path: Path
) -> None:
    text = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
    first = host.spec(text, gpus=1)
    second = host.spec(f"! kill -0 $(cat {tmp_path}/pid)", gpus=1)
    host.submit(first, second)
    read_pid(tmp_path / "pid")
    os.kill(host.supervisor_of(first["id"]), signal.SIGKILL)
    assert host.ended(first["id"])["reason"] == "supervisor_died"
    assert host.ended(second["id"])["reason"] == "exit_zero"


def test_memory_and_processors_at_rest(host: KeeperHost) -> None:
    job = host.spec("echo up; sleep 300", grace=0.2)
    host.submit(job)
    host.printed(job["id"], "up")
    pids = {"keeper": host.keepers[0].pid, "supervise": host.supervisor_of(job["id"])}
    sizes = {name: resident_mib(pid) for name, pid in pids.items()}
    assert max(sizes.values()) <= 30, json.dumps(sizes)
    host.cancel(job["id"])
    host.idle()


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS of {pid}")


def test_the_same_setup_for_two_spools_of_one_machine(agent: Path, tmp_path: Path) -> None:
    hosts = [KeeperHost(agent, tmp_path / name) for name in ("one", "two")]
    try:
        text = f"mktemp {tmp_path}/began-XXXXXX; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
        specs = []
        for number, host in enumerate(hosts, start=1):
            host.submit(spec := with_setup(host, text, "true"))
            specs.append(spec)
            wait_until(lambda number=number: len(list(tmp_path.glob("began-*"))) == number, 20)  # type: ignore[misc]
        (tmp_path / "go").touch()
        for host, spec in zip(hosts, specs, strict=True):
            assert host.ended(spec["id"])["reason"] == "exit_zero", host.trouble()
    finally:
        for host in hosts:
            host.close()
