"""The whole command line over real sshds: every login shell, noisy rc files, bare PATHs, a long line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.cli import Laptop
from tests.harness.hosts import RealHost, miniconda, path_without_python

WEIGHTS = bytes(range(256)) * 40
MAKE = "import os, pathlib; pathlib.Path(os.environ['ORCH_OUTPUT_DIR'], 'w.bin').write_bytes(bytes(range(256)) * 40)"
JOB = f"""
jobs:
  train:
    run: |
      echo hello from the job
      python -c "{MAKE}"
"""  # fmt: skip


def whole_way(laptop: Laptop, login: str) -> None:
    """Meet a host, run a job there, read its log to the end, fetch what it made."""
    laptop.jobs_yaml(JOB)
    laptop.orch("host", "add", "box", login, "--accept-new")
    laptop.orch("submit", "-d")
    assert laptop.output("logs", "-f", "train") == b"hello from the job\n"
    laptop.orch("pull")
    (weights,) = (laptop.folder / "results").rglob("w.bin")
    assert weights.read_bytes() == WEIGHTS


BANNER = "echo 'Welcome to the machine room'\n"
SHELLS = {
    "bash": ("bash", BANNER + "echo 'and to stderr' >&2\nprintf 'no newline at the end'\n"),
    "bash returns early": ("bash", "return\nexport PATH=/nowhere\n"),
    "dash": ("dash", ""),
    "zsh": ("zsh", BANNER),
    "fish": ("fish", BANNER),
    "tcsh": ("tcsh", BANNER),
}


@pytest.mark.parametrize(("shell", "rc"), SHELLS.values(), ids=SHELLS)
def test_every_login_shell_and_its_noise(tmp_path: Path, shell: str, rc: str) -> None:
    with RealHost(tmp_path, shell="" if shell == "bash" else shell, rc=rc) as host:
        whole_way(host.laptop(known=False), host.login)


def test_no_python_on_path_but_a_miniconda(tmp_path: Path) -> None:
    with RealHost(tmp_path, path=path_without_python(tmp_path / "bin")) as host:
        python = miniconda(host.home)
        laptop = host.laptop(known=False)
        whole_way(laptop, host.login)
        (job,) = laptop.json("status")["jobs"]
        assert str(python.parent.parent) in laptop.orch("show", job["id"]).stdout


def test_a_host_far_away(tmp_path: Path) -> None:
    with RealHost(tmp_path, delay=0.025) as host:
        whole_way(host.laptop(known=False), host.login)
        assert host.proxy.turns > 0


# Stands for the login shell of a machine on which the places where a Python usually is are empty.
EMPTY_PLACES = """#!/bin/sh
exec sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed 's#[^ ]*/bin/python3[^ ]*#/nowhere/python3#g')"
"""
OLD = """#!/bin/sh
[ "$1" != -V ] || exec echo Python 3.6.9
exit 66
"""
SENTENCES = {"too old": (OLD, "box has no Python new enough: "), "none": ("", "box has no Python that orch can find")}


@pytest.mark.parametrize(("python", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_no_usable_python_is_one_sentence(tmp_path: Path, python: str, sentence: str) -> None:
    path = path_without_python(tmp_path / "bin")
    for name, text in (("python3", python), ("start", EMPTY_PLACES)):
        if text:
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)
    config = [f"ForceCommand exec {tmp_path}/bin/start"]
    with RealHost(tmp_path, path=path, config=config, env={"SHELL": "/bin/false"}) as host:
        done = host.laptop().orch("host", "add", "box", host.login, code=3)
        assert f"orch: error: {sentence}" in done.stderr
        assert "3.6.9; 3.8 is needed" in done.stderr or not python
        assert "Install Python 3.8 or newer there" in done.stderr
        assert "Traceback" not in done.stderr
