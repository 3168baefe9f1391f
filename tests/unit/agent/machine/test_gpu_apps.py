"""Who uses the GPUs, as far as nvidia-smi can say."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.machine.gpu_apps import parse_processes, read_processes

SAMPLES = Path(__file__).parents[3] / "data" / "nvidia_smi"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def test_recorded_lists() -> None:
    found = parse_processes(sample("apps-normal.txt"))
    assert [(one["pid"], one["uuid"][-2:], one["memory_mib"]) for one in found] == [
        (44378, "00", 1836),
        (44966, "00", 974),
        (52114, "00", 6294),
        (38589, "01", 6265),
    ]
    assert found[3]["name"] == "VLLM::EngineCore"
    assert parse_processes(sample("apps-empty-container.txt")) == []
    assert parse_processes(sample("apps-wsl-windows.txt")) == []
    assert parse_processes(sample("query-server-8gpu.txt")) == []


def test_a_pid_of_another_namespace_has_no_name_and_no_user() -> None:
    (one,) = parse_processes(sample("apps-unnamed.txt"))
    assert (one["pid"], one["memory_mib"], one["name"], one["user"]) == (2151955, 56510, "", None)


def test_a_title_with_commas_and_colours() -> None:
    (one,) = parse_processes("7, GPU-1, [N/A], \x1b[31mtrain, epoch 3, lr 0.1")
    assert one["memory_mib"] is None
    assert one["name"] == "train, epoch 3, lr 0.1"


def test_the_user_is_that_of_the_process(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    answer = f"{os.getpid()}, GPU-1, 12, python\n{os.getpid()}, GPU-1, 12, [Not Found]\n4194305, GPU-1, 5, gone\n"
    (tmp_path / "answer").write_text(answer)
    tool.write_text(f"#!/bin/sh\ncat {shlex.quote(str(tmp_path / 'answer'))}\n")
    tool.chmod(0o755)
    users = [one["user"] for one in read_processes(str(tool))]
    assert users == [pwd.getpwuid(os.getuid()).pw_name, None, None]


@given(st.text())
def test_no_answer_breaks_the_reader(text: str) -> None:
    parse_processes(text)
