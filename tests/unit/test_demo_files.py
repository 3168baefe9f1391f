"""The demo's project, and the jobs.yaml that README, demo and tests share."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from orchestrator.demo_files import write_demo_project
from orchestrator.demo_pip import write_pip_settings

ROOT = Path(__file__).parents[2]


def test_it_is_laid_out_as_in_the_repository(tmp_path: Path) -> None:
    jobs_file = write_demo_project(tmp_path / "demo")
    assert jobs_file == tmp_path / "demo" / "jobs.yaml"
    for path in ("jobs.yaml", "remote_payload/train/train.py", "remote_payload/train/digits/model.py"):
        assert (tmp_path / "demo" / path).read_bytes() == (ROOT / path).read_bytes()
    suffixes = {path.suffix for path in (tmp_path / "demo").rglob("*") if path.is_file()}
    assert suffixes <= {".py", ".md", ".yaml"}
    assert write_demo_project(tmp_path / "demo") == jobs_file  # a second time is no trouble


def test_the_example_names_no_host_no_environment_and_needs_no_secret() -> None:
    example = YAML(typ="safe").load((ROOT / "jobs.yaml").read_text(encoding="utf-8"))
    assert set(example) == {"project", "jobs"}
    for job in example["jobs"].values():
        assert set(job) <= {"code", "setup", "secrets", "run"}
        assert (ROOT / job["code"]["path"]).is_dir()
        for name in job["setup"]["files"]:
            assert (ROOT / job["code"]["path"] / name).is_file()
        assert all(name.endswith("?") for name in job["secrets"])


def _pip_config(home: Path) -> str:
    """What pip itself, with that HOME and nothing else, takes its settings to be."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "pip", "config", "list", "--user"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_the_demo_host_fetches_from_where_its_user_does(tmp_path: Path) -> None:
    user = tmp_path / "user"
    (user / ".config" / "pip").mkdir(parents=True)
    (user / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.example/simple\nuser = yes\nfind-links =\n  /a\n  /b\n"
        "[install]\ntrusted-host = mirror.example\n"
    )
    environ = {"HOME": str(user), "PIP_INDEX_URL": "https://other.example/50%25/simple", "PIP_TARGET": "/elsewhere"}
    written = write_pip_settings(tmp_path / "host", environ)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    listed = _pip_config(tmp_path / "host").splitlines()
    assert "global.index-url='https://other.example/50%25/simple'" in listed
    assert "global.trusted-host='mirror.example'" in listed
    assert f"global.cache-dir='{user / '.cache' / 'pip'}'" in listed
    assert any(line.startswith("global.find-links=") and "/a" in line and "/b" in line for line in listed)
    assert len(listed) == 4


def test_without_settings_only_the_cache_is_shared_and_a_broken_file_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip" / "pip.conf").write_bytes(b"\xff no settings")
    write_pip_settings(tmp_path / "host", {"HOME": str(tmp_path)})
    assert _pip_config(tmp_path / "host").splitlines() == [f"global.cache-dir='{tmp_path / '.cache' / 'pip'}'"]
