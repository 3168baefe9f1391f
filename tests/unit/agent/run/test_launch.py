"""launch.sh in real shells: the gate, strictness, which `python` is on PATH."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from remote_payload.agent.run import launch
from remote_payload.agent.run.environments import Resolved, resolve_python

SHELLS = ["/bin/bash", "/bin/dash"]
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/"}


def of_path(python: str) -> Resolved:
    return resolve_python({"kind": "path", "path": python})


def run_text(
    tmp_path: Path, text: str, found: Resolved, env: dict[str, str] | None = None, shell: str = "/bin/bash"
) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script"
    launch.write_script(str(script), text)
    first = launch.python_folders(found, str(tmp_path / "shims"))
    command = launch.Command(found, str(tmp_path), str(script), env or PLAIN, first)
    argv = [shell, *launch.argv(command)[1:]]
    return subprocess.run(argv, input="go\n", env=dict(command.env), capture_output=True, text=True, timeout=30)


@pytest.fixture
def system() -> Resolved:
    return of_path(os.path.realpath(sys.executable))


@pytest.mark.parametrize("shell", SHELLS)
def test_first_failure_ends_the_text_with_its_code(tmp_path: Path, system: Resolved, shell: str) -> None:
    ran = run_text(tmp_path, "echo one\nsh -c 'exit 3'\necho two\n", system, shell=shell)
    assert (ran.returncode, ran.stdout) == (3, "one\n")


def test_a_failure_in_a_pipe_counts(tmp_path: Path, system: Resolved) -> None:
    assert run_text(tmp_path, "sh -c 'exit 4' | cat", system).returncode == 4


@pytest.mark.parametrize("shell", SHELLS)
def test_the_text_sees_an_empty_stdin_no_arguments_and_its_folder(tmp_path: Path, system: Resolved, shell: str) -> None:
    ran = run_text(tmp_path, 'cat; echo "$# $PWD"; set | grep -c ^orch_', system, shell=shell)
    assert ran.stdout.splitlines()[0] == f"0 {tmp_path}"
    assert ran.stdout.splitlines()[1] == "1", "only the path of the script is left"


@pytest.mark.parametrize("shell", SHELLS)
def test_python_is_the_resolved_one(tmp_path: Path, system: Resolved, shell: str) -> None:
    ran = run_text(tmp_path, "python -c 'import sys; print(sys.version_info[:3])'", system, shell=shell)
    assert ran.stdout.strip() == str(tuple(sys.version_info[:3])), ran.stderr


def test_a_python_without_that_name_gets_a_shim(tmp_path: Path, system: Resolved) -> None:
    folder = tmp_path / "only"
    folder.mkdir()
    (folder / "python3.99").symlink_to(system.python)
    found = of_path(str(folder / "python3.99"))
    ran = run_text(tmp_path, "command -v python; python -c 'import json'", found)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(tmp_path / "shims"))


def test_a_venv_is_not_taken_for_the_python_it_links_to(tmp_path: Path, system: Resolved) -> None:
    prefix = tmp_path / "venv with blank"
    venv.create(str(prefix), symlinks=True)
    (tmp_path / "decoy").mkdir()
    (tmp_path / "decoy" / "python").symlink_to(system.python)
    found = resolve_python({"kind": "venv", "path": str(prefix)})
    env = {**PLAIN, "PATH": "{}:/usr/bin:/bin".format(tmp_path / "decoy")}
    for activate in (True, False):
        if not activate:
            (prefix / "bin" / "activate").unlink()
        ran = run_text(tmp_path, "python -c 'import sys; print(sys.prefix)'", found, env)
        assert ran.stdout.strip() == str(prefix), ran.stderr


def conda_root(tmp_path: Path, python: str, script: str) -> Resolved:
    root = tmp_path / "miniconda3"
    (root / "etc" / "profile.d").mkdir(parents=True)
    (root / "etc" / "profile.d" / "conda.sh").write_text(script)
    env_bin = root / "envs" / "lab" / "bin"
    env_bin.mkdir(parents=True)
    (env_bin / "python").symlink_to(python)
    return Resolved("conda", str(root / "envs" / "lab"), str(env_bin / "python"), "3", str(root), "lab", True, False)


@pytest.mark.parametrize("works", [True, False])
def test_conda_activation_may_use_unset_variables_and_failing_commands(
    tmp_path: Path, system: Resolved, works: bool
) -> None:
    script = 'false; test $UNSET\nconda() { false; FROM_CONDA="$1 $2"; export FROM_CONDA; %s; }\n' % (
        f'PATH="{tmp_path}/miniconda3/envs/lab/bin:$PATH"' if works else "return 1"
    )
    found = conda_root(tmp_path, system.python, script)
    ran = run_text(tmp_path, 'command -v python; echo "$FROM_CONDA"', found)
    assert ran.stdout.splitlines() == [found.python, "activate lab"], ran.stderr


def test_a_python_that_vanished_ends_with_words(tmp_path: Path, system: Resolved) -> None:
    found = conda_root(tmp_path, system.python, "")
    Path(found.python).unlink()
    ran = run_text(tmp_path, "echo never", found)
    assert (ran.returncode, ran.stdout) == (121, "")
    assert "[orch] environment: python is not found instead of" in ran.stderr


def test_a_closed_gate_runs_nothing(tmp_path: Path, system: Resolved) -> None:
    launch.write_script(str(tmp_path / "script"), f"touch {tmp_path}/ran")
    first = launch.python_folders(system, str(tmp_path / "shims"))
    command = launch.Command(system, str(tmp_path), str(tmp_path / "script"), PLAIN, first)
    with (tmp_path / "log").open("ab") as log:
        started = launch.spawn(command, log.fileno())
        started.refuse()
        assert started.process.wait() == 120
        started = launch.spawn(command, log.fileno())
        started.release()
        assert started.process.wait() == 0
    assert (tmp_path / "ran").exists()


def test_a_script_keeps_odd_bytes_and_loses_crlf(tmp_path: Path) -> None:
    launch.write_script(str(tmp_path / "script"), "echo a\r\necho \udcff")
    assert (tmp_path / "script").read_bytes() == b"echo a\necho \xff\n"
    assert (tmp_path / "script").stat().st_mode & 0o777 == 0o600
