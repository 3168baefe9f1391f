"""The demo's project, and the jobs.yaml that README, demo and tests share."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from orchestrator.demo_files import write_demo_project

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
