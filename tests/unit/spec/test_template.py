"""What `orch init` writes fits the folder, and loads as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.spec.expand import JobsFile, load_jobs_file
from orchestrator.spec.template import starter


def written(folder: Path, **files: str) -> JobsFile:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "jobs.yaml").write_text(starter(folder), encoding="utf-8")
    return load_jobs_file(folder / "jobs.yaml")


MAIN = "if __name__ == '__main__':\n    pass\n"


@pytest.mark.parametrize(
    ("files", "run"),
    [
        ({"train_py": "", "main_py": "", "other_py": ""}, "python train.py"),
        ({"main_py": "", "other_py": ""}, "python main.py"),
        ({"src__train_py": "", "other_py": MAIN}, "python src/train.py"),
        ({"train_sh": "", "other_py": MAIN}, "bash train.sh"),
        ({"a_py": "", "z_py": MAIN, "test_py": MAIN, "setup_py": MAIN, "conf_py": MAIN}, "python z.py"),
        ({"a_py": "", "b_py": ""}, "python a.py"),
        ({"it's 1 a: b #c_py": MAIN}, """python 'it'"'"'s 1 a: b #c.py'"""),
        ({}, "python train.py"),
    ],
)
def test_what_it_runs(tmp_path: Path, files: dict[str, str], run: str) -> None:
    (job,) = written(tmp_path / "p", **files).jobs
    assert (job.name, job.run) == ("train", run)


def test_what_it_installs(tmp_path: Path) -> None:
    (job,) = written(tmp_path / "a", requirements_txt="numpy\n").jobs
    assert job.setup is not None and job.setup.run == "pip install -r requirements.txt"
    (job,) = written(tmp_path / "b", environment_yml="name: digits\ndependencies: [python]\n").jobs
    assert job.setup is None, "what may replace the host's PyTorch is only proposed"
    text = (tmp_path / "b" / "jobs.yaml").read_text(encoding="utf-8")
    assert "# setup: conda env update -n base -f environment.yml" in text
    assert "# python: {conda: digits}" in text


def test_what_it_proposes_loads_too(tmp_path: Path) -> None:
    written(tmp_path / "p", environment_yml="name: digits\n")
    path = tmp_path / "p" / "jobs.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    opened = [line.replace("    # ", "    ", 1) for line in lines if "# One job for each" not in line]
    path.write_text("\n".join(opened), encoding="utf-8")
    jobs = load_jobs_file(path).jobs
    assert len(jobs) == 4
    assert (jobs[0].python, jobs[0].timeout, jobs[0].gpu_memory_mib) == (
        {"kind": "conda", "name": "digits"},
        43200,
        20480,
    )


@pytest.mark.parametrize(
    "name", ["digits", "1 2", "null", "yes", "训练 1", "-x-", "a.b", "'\"#: {", "…", "3.10", "x" * 200]
)
def test_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name)
    assert file.project and len(file.project) <= 100
    assert file.project == load_jobs_file(file.path).project
