"""The Makefile and tools/prepare.sh in a fresh copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("orchestrator", "remote_payload", "tools", "Makefile", "README.md", "LICENSE", "jobs.yaml", "pyproject.toml")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    made = tmp_path / "clone"
    made.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, made / name)
    return made


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    keep = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(words, cwd=folder, env=keep, capture_output=True, text=True, check=True, timeout=170)


def recipe(folder: Path, target: str, *more: str) -> list[str]:
    return run(folder, "make", "--dry-run", "--no-print-directory", target, *more).stdout.splitlines()


def test_each_target_does_what_its_name_says(clone: Path) -> None:
    assert recipe(clone, "demo") == ["sh tools/prepare.sh demo", ".venv/bin/orch demo"]
    test = recipe(clone, "test", "ARGS=-k spool")
    assert test == ["sh tools/prepare.sh test", ".venv/bin/python -m pytest -n 4 --dist worksteal -k spool"]
    prepare, *checks = recipe(clone, "lint")
    assert prepare == "sh tools/prepare.sh test"
    assert [line.split()[2] for line in checks] == ["ruff", "ruff", "mypy"]
    faults, soak = recipe(clone, "faults")[1], recipe(clone, "soak", "SEED=7")[1]
    assert "tests.faults.run --rounds 20" in faults
    assert "tests.faults.run --rounds 0 --seed 7" in soak
    phony = re.search(r"^\.PHONY: (.*)$", (clone / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    told = run(clone, "make").stdout
    assert set(re.findall(r"^make (\w+)", told, re.MULTILINE)) == set(phony[1].split()) - {"help"}


def test_clean_removes_what_was_made_and_nothing_else(clone: Path) -> None:
    before = sorted(clone.rglob("*"))
    for name in (".venv/bin", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"):
        (clone / name).mkdir(parents=True)
    run(clone, "make", "clean")
    assert sorted(clone.rglob("*")) == before


def test_prepare_makes_a_venv_with_orch_in_it_once(clone: Path) -> None:
    first = run(clone, "sh", "tools/prepare.sh", "demo")
    assert "installing orch into .venv" in first.stderr
    assert run(clone, ".venv/bin/orch", "--version").stdout.startswith("orch ")
    assert "--host" in run(clone, ".venv/bin/orch", "demo", "--help").stdout
    again = run(clone, "sh", "tools/prepare.sh", "demo")
    assert (again.stdout, again.stderr) == ("", "")
