"""stage1 as a host runs it: real Pythons, real pipes, the real archive; only the end of the line differs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.remote.bootstrap import LOADER, PAYLOAD_MAGIC, _stage1
from orchestrator.remote.payload import Payload, pack, payload
from remote_payload.agent import stage1
from remote_payload.agent.wire.protocol import START_MARKER, encode
from tests.harness.pythons import Python, pythons

READY = START_MARKER + b"ready\n"
NEED = START_MARKER + b"need\n"
UNKNOWN_ROLE = 64


def run(home: Path, agent: Payload, stdin: bytes, python: str = sys.executable) -> subprocess.CompletedProcess[bytes]:
    """Run stage1 with a role the agent does not know, so that it ends right after its start."""
    argv = [python, "-I", "-S", "-c", LOADER, _stage1(), agent.digest, str(len(agent.wire)), "no-role"]
    return subprocess.run(argv, input=stdin, capture_output=True, env={"HOME": str(home)}, timeout=30, check=False)


def agent_folder(home: Path) -> Path:
    return home / ".orch/agent" / payload().digest


def test_what_both_ends_must_agree_on() -> None:
    assert stage1.MARKER == START_MARKER
    assert stage1.MAGIC == PAYLOAD_MAGIC
    assert len(PAYLOAD_MAGIC) == 16


@pytest.mark.parametrize("python", pythons(), ids=lambda python: python.name)
def test_installs_then_is_ready(python: Python, tmp_path: Path) -> None:
    agent = payload()
    first = run(tmp_path, agent, PAYLOAD_MAGIC + agent.wire, str(python))
    assert first.stdout == NEED + READY
    assert first.returncode == UNKNOWN_ROLE
    assert b"unknown role" in first.stderr
    second = run(tmp_path, agent, b"", str(python))
    assert (second.stdout, second.returncode) == (READY, UNKNOWN_ROLE)


@pytest.mark.parametrize("python", pythons(), ids=lambda python: python.name)
def test_installed_folder_runs_by_its_path(python: Python, tmp_path: Path) -> None:
    agent = payload()
    run(tmp_path, agent, PAYLOAD_MAGIC + agent.wire, str(python))
    (folder,) = agent_folder(tmp_path).iterdir()
    argv = [str(python), "-I", "-S", str(folder), "no-role"]
    done = subprocess.run(argv, cwd="/", capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (UNKNOWN_ROLE, b"")


@pytest.mark.parametrize(
    "early", [b"", encode({"t": "req", "id": 1}), PAYLOAD_MAGIC[:9], PAYLOAD_MAGIC[:15] + b"x", b"z" * 200_000]
)
def test_early_requests_are_skipped_and_later_ones_left_alone(early: bytes, tmp_path: Path) -> None:
    agent = payload()
    read, write = os.pipe()
    argv = [sys.executable, "-I", "-S", "-c", LOADER, _stage1(), agent.digest, str(len(agent.wire)), "no-role"]
    with subprocess.Popen(
        argv, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"HOME": str(tmp_path)}
    ) as process:
        with open(write, "wb") as pipe:  # noqa: PTH123 - a descriptor, not a path
            pipe.write(early + PAYLOAD_MAGIC + agent.wire + b"first frame")
        output, _ = process.communicate(timeout=30)
    assert output == NEED + READY
    assert os.read(read, 100) == b"first frame"
    os.close(read)


def test_truncated_upload(tmp_path: Path) -> None:
    agent = payload()
    done = run(tmp_path, agent, PAYLOAD_MAGIC + agent.wire[:-1])
    assert done.stdout == NEED + START_MARKER + b"fail the upload of the agent broke off\n"
    assert not agent_folder(tmp_path).exists()


@pytest.mark.parametrize("damage", ["digest", "bytes"])
def test_damaged_upload(damage: str, tmp_path: Path) -> None:
    agent = payload()
    wire = agent.wire if damage == "digest" else bytes([agent.wire[0] ^ 255]) + agent.wire[1:]
    done = run(tmp_path, Payload("0" * 64 if damage == "digest" else agent.digest, wire), PAYLOAD_MAGIC + wire)
    assert done.stdout == NEED + START_MARKER + b"fail the agent arrived damaged (wrong digest)\n"
    assert list((tmp_path / ".orch" if (tmp_path / ".orch").exists() else tmp_path).rglob("*.py")) == []


def test_home_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path / "gone", payload(), b"")
    assert done.stdout.startswith(START_MARKER + b"fail the agent cannot be installed: ")
    assert b"gone: No such file or directory\n" in done.stdout


def test_home_where_nothing_can_be_written(tmp_path: Path) -> None:
    # A file in the way fails alike for root and for others, as a read-only disk does.
    (tmp_path / ".orch").write_text("")
    done = run(tmp_path, payload(), PAYLOAD_MAGIC + payload().wire)
    assert done.stdout.startswith(NEED + START_MARKER + b"fail the agent cannot be installed: ")
    assert b".orch" in done.stdout


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    agent = payload()
    argv = [sys.executable, "-I", "-S", "-c", LOADER, _stage1(), agent.digest, str(len(agent.wire)), "no-role"]
    # A limit on file size stands in for a full disk: a write fails in the middle of unpacking.
    limited = ["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "sh", *argv]
    done = subprocess.run(
        limited,
        input=PAYLOAD_MAGIC + agent.wire,
        capture_output=True,
        env={"HOME": str(tmp_path)},
        timeout=30,
        check=False,
    )
    assert done.stdout.startswith(NEED + START_MARKER + b"fail the agent cannot be installed: ")
    assert list(agent_folder(tmp_path).iterdir()) == []


def test_two_controllers_at_once(tmp_path: Path) -> None:
    agent = payload()
    argv = [sys.executable, "-I", "-S", "-c", LOADER, _stage1(), agent.digest, str(len(agent.wire)), "no-role"]
    running = [
        subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"HOME": str(tmp_path)}
        )
        for _ in range(4)
    ]
    # All have said `need` before any gets the archive, so that all of them install.
    for process in running:
        assert process.stdout is not None
        assert process.stdout.read(len(NEED)) == NEED
    outputs = [process.communicate(PAYLOAD_MAGIC + agent.wire, timeout=30) for process in running]
    assert [output for output, _ in outputs] == [READY] * 4
    assert len(list(agent_folder(tmp_path).iterdir())) == 1


def test_broken_installation_is_replaced(tmp_path: Path) -> None:
    agent = payload()
    run(tmp_path, agent, PAYLOAD_MAGIC + agent.wire)
    (folder,) = agent_folder(tmp_path).iterdir()
    (folder / "__main__.py").unlink()
    done = run(tmp_path, agent, PAYLOAD_MAGIC + agent.wire)
    assert done.stdout == NEED + READY
    assert list(agent_folder(tmp_path).iterdir()) == [folder]
    assert (folder / "__main__.py").is_file()


def test_payload_is_deterministic(tmp_path: Path) -> None:
    package = tmp_path / "remote_payload"
    (package / "agent/wire/__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_bytes(b"")
    (package / "agent/b.py").write_bytes(b"b = 1\r\n")
    (package / "agent/wire/launch.sh").write_bytes(b"true\n")
    (package / "agent/wire/__pycache__/b.cpython-311.pyc").write_bytes(b"junk")
    (package / "train.py").write_bytes(b"")
    first = pack(package)
    copy = tmp_path / "other"
    shutil.copytree(package, copy)
    (copy / "agent/b.py").write_bytes(b"b = 1\n")
    assert pack(copy) == first
    (copy / "agent/b.py").write_bytes(b"b = 2\n")
    assert pack(copy).digest != first.digest


def test_pythons_that_are_too_old(tmp_path: Path) -> None:
    # A loop, not parameters: a machine without old Pythons has nothing to try here.
    for python in pythons(old=True):
        done = run(tmp_path, payload(), b"", str(python))
        # Python 2 does not know -I; later ones get as far as the version check.
        assert done.returncode == (2 if python.name.startswith("2") else 66)
        assert done.stdout == b""
