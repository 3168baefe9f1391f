"""Attempts with real keepers, supervisors and jobs: every way to end, and what follows when one of us is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_payload.agent.machine.cgroup import oom_kills
from remote_payload.agent.machine.identity import boot_identity
from remote_payload.agent.run.processes import living, read_process
from remote_payload.agent.spool import atomic
from tests.harness.waiting import wait_until
from tests.integration.keeper_host import KeeperHost, _with_arguments, pid_lives, read_pid, unpack_agent


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


def reason(end: dict[str, object]) -> tuple[object, object, object]:
    return end["reason"], end["exit_code"], end["signal"]


def test_exit_codes_log_and_environment(host: KeeperHost) -> None:
    text = 'echo "$ORCH_JOB_NAME $ORCH_ATTEMPT $GREETING"; cat; cat data.txt; python -c "import sys; print(sys.prefix)"'
    good = host.spec(text, dir="sub", env={"GREETING": "hello"})
    bad = host.spec("echo to stderr >&2; exit 3")
    host.submit(good, bad, files={"sub/data.txt": "from the tree\n"})
    assert reason(host.ended(good["id"])) == ("exit_zero", 0, None)
    assert host.log(good["id"]).splitlines()[:2] == ["train 1 hello", "from the tree"]
    assert reason(host.ended(bad["id"])) == ("exit_nonzero", 3, None)
    assert host.log(bad["id"]) == "to stderr\n"
    start = host.started(good["id"])
    assert start["boot"] == boot_identity()
    assert start["host_id"] == host.host_id
    assert start["environment"]["version"].count(".") == 2
    host.idle()
    assert Path(host.paths.job(good["id"]).outputs).is_dir()


def test_the_environment_is_built_from_nothing(host: KeeperHost) -> None:
    spec = host.spec("env | cut -d= -f1 | sort | tr '\\n' ' '")
    host.store(spec)
    host.start_keeper(SOME_TOKEN="secret", ORCH_ATTEMPT_MARKER="another job's")
    host.ended(spec["id"])
    names = set(host.log(spec["id"]).split())
    assert "SOME_TOKEN" not in names
    assert {"HOME", "USER", "SHELL", "LANG", "PATH", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES"} <= names


def test_leader_killed_and_command_killed_are_told_apart(host: KeeperHost) -> None:
    leader = host.spec("kill -SEGV $$; sleep 60")
    command = host.spec("sh -c 'kill -9 $$'")
    host.submit(leader, command)
    assert reason(host.ended(leader["id"])) == ("signal", None, signal.SIGSEGV)
    end = host.ended(command["id"])
    # Where the kernel counts whom it kills for want of memory, it is known that it was not the kernel.
    assert reason(end) == ("out_of_memory" if oom_kills() is None else "exit_nonzero", 137, None)
    assert "killed with SIGKILL" in str(end["detail"])


def test_what_the_command_leaves_behind_is_ended_and_said(host: KeeperHost, tmp_path: Path) -> None:
    text = f"""
    env -i setsid sh -c 'echo $$ > {tmp_path}/in-log; exec sleep 300' &
    env -i setsid sh -c 'echo $$ > {tmp_path}/hidden; exec sleep 300' > /dev/null 2>&1 &
    while [ ! -s {tmp_path}/hidden ] || [ ! -s {tmp_path}/in-log ]; do sleep 0.05; done
    echo leaving
    """
    spec = host.spec(text)
    host.submit(spec)
    assert reason(host.ended(spec["id"])) == ("exit_zero", 0, None)
    assert "[orch] the command ended but left" in host.log(spec["id"])
    assert not pid_lives(read_pid(tmp_path / "in-log"))
    assert not pid_lives(read_pid(tmp_path / "hidden"))
    host.idle()


CHECKPOINT = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.7)
    pathlib.Path(sys.argv[1]).write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(300)
"""


def test_cancel_waits_for_the_checkpoint(host: KeeperHost, tmp_path: Path) -> None:
    spec = host.spec(f"python train.py {tmp_path}/checkpoint")
    host.submit(spec, files={"train.py": CHECKPOINT})
    host.printed(spec["id"], "up")
    host.cancel(spec["id"])
    end = host.ended(spec["id"])
    assert reason(end) == ("cancelled_by_user", None, signal.SIGTERM)
    assert (tmp_path / "checkpoint").read_text() == "saved"
    assert "[orch] cancelled on request" in host.log(spec["id"])


def test_exit_zero_while_cancelling_is_a_success(host: KeeperHost, tmp_path: Path) -> None:
    spec = host.spec(f"exec python train.py {tmp_path}/checkpoint")
    host.submit(spec, files={"train.py": CHECKPOINT})
    host.printed(spec["id"], "up")
    host.cancel(spec["id"])
    assert reason(host.ended(spec["id"])) == ("exit_zero", 0, None)


def test_a_job_that_ignores_term_is_killed_after_its_grace(host: KeeperHost) -> None:
    # Its sleep may be killed a moment before it: that must not end it with a code of its own.
    spec = host.spec("trap '' TERM; echo up; while :; do sleep 1 || :; done", grace=0.5)
    host.submit(spec)
    host.printed(spec["id"], "up")
    host.cancel(spec["id"])
    assert reason(host.ended(spec["id"])) == ("cancelled_by_user", None, signal.SIGKILL)
    host.idle()


def test_timeout(host: KeeperHost) -> None:
    spec = host.spec("echo up; sleep 300", timeout=0.5)
    host.submit(spec)
    assert host.ended(spec["id"])["reason"] == "timeout"
    assert "[orch] it has run for its timeout of 0.5 s" in host.log(spec["id"])


def test_cancelled_before_it_was_claimed_never_starts(host: KeeperHost) -> None:
    first, second = host.spec("echo never"), host.spec("echo done")
    host.store(first, second)
    host.cancel(first["id"])
    host.start_keeper()
    assert host.ended(second["id"])["reason"] == "exit_zero"
    host.idle()
    assert not Path(host.paths.job(first["id"]).attempts).exists()


def test_supervisor_killed(host: KeeperHost, tmp_path: Path) -> None:
    text = f"""
    env -i setsid sh -c 'echo $$ > {tmp_path}/in-log; exec sleep 300' &
    env -i setsid sh -c 'echo $$ > {tmp_path}/hidden; exec sleep 300' > /dev/null 2>&1 &
    sleep 300
    """
    spec = host.spec(text)
    host.submit(spec)
    pids = [host.started(spec["id"])["pid"], read_pid(tmp_path / "in-log"), read_pid(tmp_path / "hidden")]
    os.kill(host.supervisor_of(spec["id"]), signal.SIGKILL)
    end = host.ended(spec["id"])
    assert end["reason"] == "supervisor_died"
    assert not [pid for pid in pids if pid_lives(pid)]
    host.idle()


def test_keeper_killed_the_job_goes_on_and_the_next_keeper_picks_up(host: KeeperHost, tmp_path: Path) -> None:
    running = host.spec(f"echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo finished")
    waiting = host.spec("echo second", gpus=0)
    host.submit(running)
    host.printed(running["id"], "up")
    host.keepers[0].send_signal(signal.SIGKILL)
    host.keepers[0].wait()
    host.submit(waiting)
    (tmp_path / "go").touch()
    assert host.ended(running["id"])["reason"] == "exit_zero"
    assert host.log(running["id"]) == "up\nfinished\n"
    assert host.ended(waiting["id"])["reason"] == "exit_zero"
    host.idle()


def test_keeper_killed_with_nothing_running_and_nobody_there(host: KeeperHost, tmp_path: Path) -> None:
    spec = host.spec("exit 1", retry={"max": 1, "on": ["exit"], "backoff": 4.0})
    host.submit(spec)
    host.ended(spec["id"])
    for _ in range(2):
        keeper = atomic.read_json(host.paths.keeper_pid) or {}
        wait_until(lambda: standbys(host), 20, "its standby")
        os.kill(keeper["pid"], signal.SIGKILL)
        wait_until(lambda old=keeper: (atomic.read_json(host.paths.keeper_pid) or {}) != old, 20)  # type: ignore[misc]
    assert host.ended(spec["id"], 2)["reason"] == "exit_nonzero"
    host.idle()
    wait_until(lambda: not standbys(host), 10, "the end of the standby")


def standbys(host: KeeperHost) -> list[int]:
    return _with_arguments("standby", host.paths.root)


def test_both_killed_the_next_keeper_ends_what_is_left(host: KeeperHost, tmp_path: Path) -> None:
    spec = host.spec(f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' & sleep 300")
    host.submit(spec)
    pids = [host.started(spec["id"])["pid"], read_pid(tmp_path / "pid")]
    host.keepers[0].send_signal(signal.SIGKILL)
    host.keepers[0].wait()
    os.kill(host.supervisor_of(spec["id"]), signal.SIGKILL)
    host.start_keeper()
    assert host.ended(spec["id"])["reason"] == "supervisor_died"
    assert not [pid for pid in pids if pid_lives(pid)]


def test_another_boot_means_the_host_was_restarted(host: KeeperHost) -> None:
    spec = host.spec("echo never again")
    host.store(spec)
    place = host.attempt(spec["id"])
    Path(place.folder).mkdir(parents=True)
    bystander = read_process(os.getpid())
    assert bystander is not None
    atomic.write_json(
        place.start,
        {"pid": 1, "sid": bystander.session, "start_ticks": 1, "boot": {"id": "old", "pid1_start": "1"}, "marker": "x"},
    )
    host.start_keeper()
    assert host.ended(spec["id"])["reason"] == "host_rebooted"


def test_an_attempt_that_never_started_anything_begins_again(host: KeeperHost) -> None:
    spec = host.spec("echo ran")
    host.store(spec)
    Path(host.attempt(spec["id"]).folder).mkdir(parents=True)
    host.start_keeper()
    assert host.ended(spec["id"])["reason"] == "exit_zero"


def test_a_second_keeper_ends_at_once(host: KeeperHost) -> None:
    spec = host.spec("echo up; sleep 300", grace=0.2)
    host.submit(spec)
    host.printed(spec["id"], "up")
    assert host.start_keeper().wait(10) == 0
    assert host.keepers[0].poll() is None
    host.cancel(spec["id"])
    host.idle()


def test_retry_makes_a_second_attempt_in_the_same_workdir(host: KeeperHost) -> None:
    spec = host.spec("echo x >> seen; wc -l < seen; [ $ORCH_ATTEMPT = 2 ]")
    host.submit(spec)
    assert host.ended(spec["id"])["reason"] == "exit_nonzero"
    end = host.ended(spec["id"])
    atomic.write_json(host.paths.job(spec["id"]).retry("r-1"), {"at": end["ended_at"] + 0.001, "after": 1})
    host.start_keeper()
    assert host.ended(spec["id"], 2)["reason"] == "exit_zero"
    assert host.log(spec["id"], 2).strip() == "2"


def test_cpu_jobs_run_within_the_quota_and_say_why_they_wait(host: KeeperHost, tmp_path: Path) -> None:
    jobs = [
        host.spec(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done") for _ in range(len(os.sched_getaffinity(0)) + 1)
    ]
    host.submit(*jobs)
    wait_until(lambda: host.waiting().get(jobs[-1]["id"], {}).get("reason") == "no_cpu", 20, "no_cpu")
    (tmp_path / "go").touch()
    for job in jobs:
        assert host.ended(job["id"])["reason"] == "exit_zero"
    host.idle()
    assert host.waiting() == {}


def test_one_broken_submission_does_not_stop_the_others(host: KeeperHost) -> None:
    Path(host.paths.submission("s-broken")).write_text('{"id": "s-broken", "jobs": [')
    broken, good = host.spec("echo no"), host.spec("echo yes")
    broken["gpus"] = None  # type: ignore[typeddict-item]
    host.store(broken)
    host.submit(good)
    assert host.ended(good["id"])["reason"] == "exit_zero"


def test_no_process_is_left_when_the_spool_is_removed(host: KeeperHost) -> None:
    spec = host.spec("echo up; sleep 300", grace=0.2)
    host.submit(spec)
    host.printed(spec["id"], "up")
    pid = host.started(spec["id"])["pid"]
    Path(host.paths.root).rename(host.paths.root + ".away")
    wait_until(lambda: pid not in living(), 20, "the job ends")
    wait_until(lambda: not host.strays(), 20, f"strays: {host.strays()}")
