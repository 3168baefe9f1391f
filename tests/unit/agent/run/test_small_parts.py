"""end.json with reserved blocks, GPU locks, environments from nothing, environment digests."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, cast

from remote_payload.agent.run import gpulock, jobenv
from remote_payload.agent.run.endfile import RESERVED_BYTES, EndFile, is_disk_full
from remote_payload.agent.run.envbuild import blobs_of, env_digest, wants_own_venv
from remote_payload.agent.run.environments import Resolved
from remote_payload.agent.run.processes import MARKER_NAME
from remote_payload.agent.run.supervisor import LeasedGpu, Order
from remote_payload.agent.wire.messages import JobSpec

SYSTEM = Resolved("system", "/usr", "/usr/bin/python3", "3.11.2", "", "", True, False)


def spec(**more: Any) -> JobSpec:
    base = {
        "id": "j-1",
        "name": "train.1",
        "submission": "s-1",
        "project": "digits",
        "env": {"A": "1"},
        "setup": {"run": "pip install .", "files": ["req.txt"]},
        "python": {"kind": "auto"},
        "dir": ".",
    }
    return cast(JobSpec, {**base, **more})


def test_end_is_written_into_the_blocks_that_were_reserved(tmp_path: Path) -> None:
    end = EndFile(str(tmp_path / "end.json"))
    end.reserve()
    reserved = tmp_path / "end.json.reserved"
    assert reserved.stat().st_size == RESERVED_BYTES
    inode = reserved.stat().st_ino
    end.write({"reason": "exit_zero"})
    assert (tmp_path / "end.json").stat().st_ino == inode
    assert json.loads((tmp_path / "end.json").read_bytes()) == {"reason": "exit_zero"}
    assert not reserved.exists()


def test_an_end_too_long_for_its_blocks_is_shortened(tmp_path: Path) -> None:
    end = EndFile(str(tmp_path / "end.json"))
    end.reserve()
    end.write({"reason": "signal", "detail": "é" * 10000})
    assert (tmp_path / "end.json").stat().st_size <= RESERVED_BYTES
    assert json.loads((tmp_path / "end.json").read_bytes())["detail"] == "é" * 400


def test_an_end_without_reserved_blocks_is_written_too(tmp_path: Path) -> None:
    EndFile(str(tmp_path / "end.json")).write_now({"reason": "exit_zero"})
    assert (tmp_path / "end.json").exists()
    assert is_disk_full(OSError(errno.ENOSPC, "full"))
    assert not is_disk_full(OSError(errno.EIO, "broken"))


def test_a_gpu_is_locked_once_and_seen_by_everybody(tmp_path: Path) -> None:
    folder = str(tmp_path)
    first = gpulock.take("GPU-1", folder)
    assert first is not None
    assert gpulock.take("GPU-1", folder) is None
    assert gpulock.is_taken("GPU-1", folder=folder)
    assert Path(gpulock.lock_path("GPU-1", folder)).stat().st_mode & 0o777 == 0o644
    os.close(*first)
    assert not gpulock.is_taken("GPU-1", folder=folder)
    again = gpulock.take("GPU-1", folder)
    assert again is not None
    os.close(*again)


def test_parts_of_a_gpu_are_for_one_spool(tmp_path: Path) -> None:
    folder = str(tmp_path)
    first, second = (gpulock.take_part("GPU-1", "mine", folder) for _ in range(2))
    assert first and second
    assert gpulock.take("GPU-1", folder) is None
    assert gpulock.take_part("GPU-1", "theirs", folder) is None
    assert gpulock.is_taken("GPU-1", "theirs", folder) and not gpulock.is_taken("GPU-1", "mine", folder)
    for descriptor in first:
        os.close(descriptor)
    assert gpulock.take_part("GPU-1", "theirs", folder) is None
    for descriptor in second:
        os.close(descriptor)
    whole = gpulock.take("GPU-1", folder)
    assert whole and gpulock.is_taken("GPU-1", "mine", folder)
    assert gpulock.take_part("GPU-1", "mine", folder) is None
    os.close(*whole)


def test_a_gpu_lock_never_follows_a_link_or_leaves_its_folder(tmp_path: Path) -> None:
    (tmp_path / "orch-gpu-GPU-2.lock").symlink_to(tmp_path / "victim")
    assert gpulock.take("GPU-2", str(tmp_path)) is None
    assert not (tmp_path / "victim").exists()
    assert gpulock.lock_path("../../etc/x", "/tmp") == "/tmp/orch-gpu-.._.._etc_x.lock"


def test_nothing_of_the_login_reaches_a_job_but_a_few_names() -> None:
    login = {"TOKEN": "x", "LD_LIBRARY_PATH": "/cuda", "TMPDIR": "/big", "HOME": "/h", "PATH": "/odd"}
    base = jobenv.base_environment({"path": "/p", "variables": {"HF_HOME": "/cache"}}, login)
    assert base["PATH"] == "/p"
    assert base["HF_HOME"] == "/cache"
    assert (base["LD_LIBRARY_PATH"], base["TMPDIR"], base["HOME"], base["LANG"]) == ("/cuda", "/big", "/h", "C.UTF-8")
    assert "TOKEN" not in base
    assert jobenv.base_environment({}, login)["PATH"] == jobenv.DEFAULT_PATH
    assert "TOKEN" not in jobenv.agent_environment(login)
    assert MARKER_NAME not in jobenv.agent_environment({MARKER_NAME: "x"})


def test_env_wins_over_ours_and_secrets_over_all_but_the_marker_is_ours() -> None:
    place = jobenv.AttemptPlace(2, "/out", [1, 3], "m")
    env = jobenv.job_environment(
        {"PATH": "/p"},
        spec(env={"A": "1", "KEY": "plain", "PYTHONUNBUFFERED": "0", MARKER_NAME: "forged"}),
        place,
        {"KEY": "secret"},
    )
    assert env[MARKER_NAME] == "m"
    assert (env["KEY"], env["PYTHONUNBUFFERED"], env["A"]) == ("secret", "0", "1")
    assert (env["CUDA_VISIBLE_DEVICES"], env["ORCH_ATTEMPT"], env["ORCH_OUTPUT_DIR"]) == ("1,3", "2", "/out")
    assert (env["ORCH_JOB_ID"], env["ORCH_JOB_NAME"]) == ("j-1", "train.1")


def test_a_digest_changes_with_what_the_setup_depends_on_and_with_nothing_else() -> None:
    one = env_digest(spec(), SYSTEM, {"req.txt": "aa", "train.py": "bb"})
    assert one == env_digest(spec(env={"B": "2"}), SYSTEM, {"req.txt": "aa", "train.py": "cc"})
    assert one != env_digest(spec(), SYSTEM, {"req.txt": "ab"})
    assert one != env_digest(spec(setup={"run": "other", "files": ["req.txt"]}), SYSTEM, {"req.txt": "aa"})
    assert one != env_digest(spec(), SYSTEM._replace(prefix="/opt"), {"req.txt": "aa"})
    assert one != env_digest(spec(dir="sub"), SYSTEM, {"req.txt": "aa"})
    entries: Any = [{"p": "a", "t": "f", "h": "1"}, {"p": "b", "t": "l", "to": "a"}]
    assert blobs_of({"version": 1, "entries": entries}) == {"a": "1"}


def test_only_a_python_nobody_named_gets_a_venv() -> None:
    assert wants_own_venv(SYSTEM._replace(writable=False))
    assert wants_own_venv(SYSTEM._replace(externally_managed=True))
    assert not wants_own_venv(SYSTEM)
    assert not wants_own_venv(SYSTEM._replace(kind="conda", writable=False))


def test_orders_survive_the_command_line() -> None:
    order = Order("/r", "j-1", 3, 5, (LeasedGpu((6,), 0, "GPU-a:b", 10), LeasedGpu((7, 8), 1, "GPU-c", 5)))
    assert Order.parse(order.argv()) == order
    assert Order.parse(Order("/r", "j-1", 1, 5, ()).argv()).gpus == ()
