"""What hello and check tell about a host."""

from __future__ import annotations

import json
import pwd
import shlex
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.machine.cgroup import Memory
from remote_payload.agent.machine.facts import collect, hello_facts, no_gpu_mode, os_name, torch_facts, warnings_of
from remote_payload.agent.wire.messages import GpuTable

SAMPLES = Path(__file__).parents[3] / "data" / "nvidia_smi"
GIB = 1024**3

FACTS = {
    "hostname",
    "user",
    "os",
    "kernel",
    "python",
    "gpu",
    "conda",
    "gpu_processes",
    "torch",
    "disk",
    "cpu",
    "memory",
    "shm",
    "nvidia_smi",
    "no_gpu_mode",
    "home_writable",
    "logout",
    "warnings",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


def nvidia_smi(folder: Path, query: str) -> str:
    """Put a stand-in for nvidia-smi into a folder and return the folder as a PATH."""
    folder.mkdir()
    tool = folder / "nvidia-smi"
    samples = shlex.quote(str(SAMPLES))
    tool.write_text(
        f'#!/bin/sh\ncase "$1" in\n--query-gpu=*) exec cat {samples}/{query};;\n'
        f"'') exec cat {samples}/table-autodl.txt;;\n-L) exec cat {samples}/list-normal.txt;;\nesac\n"
    )
    tool.chmod(0o755)
    return str(folder)


def test_hello_runs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("hello started a process")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    told = hello_facts()
    assert set(told) == {
        "python", "hostname", "user", "home", "shell", "pid", "os", "machine_id", "boot", "time"
    }  # fmt: skip
    assert told["home"] == str(home)
    assert told["python"]["version"] == "{}.{}.{}".format(*sys.version_info[:3])
    json.dumps(told)


def test_facts_of_a_host_with_a_gpu(home: Path, tmp_path: Path) -> None:
    path = nvidia_smi(tmp_path / "bin", "query-consumer-1gpu.txt")
    told = collect(False, {"kind": "auto"}, [], path, "~/.orch")
    assert set(told) == FACTS
    assert told["gpu"]["state"] == "ok"
    assert told["gpu"]["cuda"] == "12.4"
    assert told["nvidia_smi"] == f"{path}/nvidia-smi"
    assert told["disk"]["path"] == str(home / ".orch")
    assert told["cpu"]["quota"] > 0
    assert told["home_writable"] is True
    assert told["torch"]["checked"] is False
    json.dumps(told)


def a_venv(place: Path, **modules: str) -> Path:
    """Make a venv whose site-packages hold small modules of these names."""
    venv.create(place, with_pip=False, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
    return place


def test_torch_is_asked_in_the_jobs_python(home: Path, tmp_path: Path) -> None:
    torch = (
        "import types\nprint('noise on import')\n__version__ = '2.9.0+cu128'\n"
        "version = types.SimpleNamespace(cuda='12.8')\ncuda = types.SimpleNamespace(is_available=lambda: True)\n"
    )
    place = a_venv(tmp_path / "env", torch=torch)
    told = collect(True, {"kind": "venv", "path": str(place)}, [], str(tmp_path), str(tmp_path))["torch"]
    assert told == {
        "checked": True,
        "available": True,
        "version": "2.9.0+cu128",
        "cuda": "12.8",
        "python": str(place / "bin" / "python"),
        "error": "",
        "jax": None,
    }


def test_torch_is_never_required(home: Path, tmp_path: Path) -> None:
    place = a_venv(tmp_path / "env", jax="raise RuntimeError('find_spec must not import it')")
    (site,) = place.glob("lib/python*/site-packages")
    meta = site / "jax-0.7.1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.7.1\n")
    told = torch_facts({"kind": "venv", "path": str(place)}, [])
    assert (told["checked"], told["available"], told["jax"]) == (True, None, "0.7.1")
    assert told["error"] == "No module named 'torch'"


@pytest.mark.parametrize(
    ("torch", "error"),
    [
        (
            "raise OSError('libcudart.so.12: cannot open\\nshared object')",
            "OSError: libcudart.so.12: cannot open shared",
        ),
        ("import os\nos.write(2, b'Illegal instruction')\nos._exit(132)", "Illegal instruction"),
        ("import os\nos.write(1, b'ORCH-FRAMEWORKS not json')\nos._exit(0)", "cannot be read"),
        ("import os\nos._exit(9)", "exit code 9"),
    ],
)
def test_a_torch_that_breaks_is_told(home: Path, tmp_path: Path, torch: str, error: str) -> None:
    place = a_venv(tmp_path / "env", torch=torch)
    told = torch_facts({"kind": "venv", "path": str(place)}, [])
    assert told["available"] is None
    assert error in told["error"]
    assert "\n" not in told["error"]


def test_a_torch_that_never_comes_back(home: Path, tmp_path: Path) -> None:
    place = a_venv(tmp_path / "env", torch="import select\nselect.select([], [], [])")
    told = torch_facts({"kind": "venv", "path": str(place)}, [], timeout=1)
    assert told["checked"] is False
    assert "more than 1 s" in told["error"]


def test_a_python_that_is_not_there_is_told_in_facts(home: Path, tmp_path: Path) -> None:
    told = torch_facts({"kind": "venv", "path": str(tmp_path / "none")}, [])
    assert told["checked"] is False
    assert "no venv" in told["error"]
    assert "python3 -m venv" in told["error"]


@pytest.mark.parametrize(
    ("state", "limit", "total", "expected"),
    [
        ("no_device", 2 * GIB, 512 * GIB, True),
        ("no_device", None, 2 * GIB, True),
        ("no_device", 64 * GIB, 512 * GIB, False),
        ("no_device", None, None, False),
        ("ok", 2 * GIB, 512 * GIB, False),
        ("no_tool", 2 * GIB, 2 * GIB, False),
    ],
)
def test_no_gpu_mode(state: str, limit: int | None, total: int | None, expected: bool) -> None:
    table = GpuTable(state=state, message="", gpus=[], cuda=None)
    assert no_gpu_mode(table, Memory(limit, None, total)) is expected


def healthy() -> dict[str, Any]:
    return {
        "torch": {"checked": True, "error": "No module named 'torch'"},
        "shm": {"total": 32 * GIB},
        "home_writable": True,
    }


def test_a_healthy_host_has_no_warnings() -> None:
    assert warnings_of(healthy()) == []
    assert warnings_of({**healthy(), "shm": {"total": None}}) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"shm": {"total": 64 * 1024**2}}, "64 MiB"),
        ({"home_writable": False}, "not writable"),
        ({"torch": {"checked": False, "error": "there is no venv at /x"}}, "no venv"),
    ],
)
def test_each_warning(change: dict[str, Any], word: str) -> None:
    (warning,) = warnings_of({**healthy(), **change})
    assert word in warning


def test_the_name_of_the_system(tmp_path: Path) -> None:
    assert os_name(str(tmp_path)) == "Linux"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n')
    assert os_name(str(tmp_path)) == "Ubuntu 22.04.5 LTS"


def test_an_account_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("SHELL", "/bin/odd")
    monkeypatch.delenv("USER", raising=False)
    told = hello_facts()
    assert told["shell"] == "/bin/odd"
    assert told["user"].isdigit()
