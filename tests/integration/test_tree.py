"""Code on its way to a host and results on their way home: every name, byte, bit and link as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import rich

from tests.harness.cli import Laptop
from tests.harness.ssh_laptop import SshLaptop
from tests.harness.trees import contents, hostile, special

COUNT = 5000


def workdir(laptop: Laptop, job: str) -> Path:
    """Return the folder a job ran in; the host is on this very machine."""
    (found,) = [each for each in laptop.json("status")["jobs"] if each["id"] == job]
    return Path(found["path"]) / "workdir"


def test_a_tree_of_5000_files_with_hostile_names_arrives_as_it_is_and_is_sent_once(tmp_path: Path) -> None:
    with SshLaptop(tmp_path) as ssh:
        laptop = ssh.laptop
        code = laptop.folder / "code"
        code.mkdir()
        hostile(code, COUNT)
        (laptop.folder / "secret.txt").write_text("not sent")
        expected = contents(code)
        special(code)
        laptop.jobs_yaml("jobs: {t: {run: 'true', code: {path: code}}}\n")
        first = laptop.orch("submit", "-d")
        assert "a-fifo" in first.stderr and "a-socket" in first.stderr, "what is left out is named"
        assert not any("\x1b" in line for line in (first.stdout + first.stderr).splitlines())
        (job,) = [each["id"] for each in laptop.json("status")["jobs"]]
        laptop.orch("wait", job)
        arrived = contents(workdir(laptop, job))
        assert {path for path in expected if arrived.get(path) != expected[path]} == set()
        assert set(arrived) == set(expected)
        assert sum(1 for what in arrived.values() if what[0] == "file") >= COUNT
        again = laptop.json("submit", "-d", "--again")
        assert again["sent_files"] == 0
        (code / "plain.py").write_text("changed")
        changed = laptop.json("submit", "-d", "--again")
        assert changed["sent_files"] == 1
        assert "secret" not in str(sorted(arrived))


def test_ignored_files_stay_and_the_rules_are_told(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "project")
    laptop.orch("host", "add", "here", "local")
    for name in (
        ".git/HEAD",
        "keep.py",
        "a.log",
        "sub/b.log",
        "sub/keep.log",
        "sub/deep/c.tmp",
        "data/x.bin",
        "venv/y",
    ):
        laptop.write(name, name)
    laptop.write(".gitignore", "*.log\ndata/\n")
    laptop.write("sub/.gitignore", "!keep.log\n*.tmp\n")
    laptop.write(".orchignore", "!data/\n")
    laptop.jobs_yaml("jobs: {t: {run: find . -type f | sort}}\n")
    told = laptop.orch("submit", "-d").stderr
    assert ".git/" in told and "*.log" in told and "venv" in told
    laptop.orch("wait")
    sent = laptop.orch("logs", "t").stdout.split()
    assert sent == [
        f"./{name}"
        for name in (
            ".gitignore",
            ".orchignore",
            "data/x.bin",
            "jobs.yaml",
            "keep.py",
            "sub/.gitignore",
            "sub/keep.log",
        )
    ]


def test_results_with_hostile_names_come_home(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "project")
    laptop.orch("host", "add", "here", "local")
    laptop.write("make.py", MAKE)
    laptop.jobs_yaml("jobs: {t: {run: python make.py}}\n")
    done = laptop.orch("submit")
    (folder,) = (laptop.folder / "results").glob("s-*/t")
    names = json.loads((folder / "names.json").read_text())
    listed = json.loads((folder / "job.json").read_text())
    home = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    for name in names:
        assert hashlib.sha256(name.encode("latin-1")).hexdigest() in home, name
    assert not (tmp_path / "escaped").exists()
    assert "\x1b" not in done.stdout + done.stderr
    assert listed["state"] == "SUCCEEDED"


MAKE = r"""
import json, os
names = [b"plain", b"with space", b"new\nline", b"quote'\"", b"-rf", b"back\\slash", b"con.txt", b"dot.", b"bad\xff",
         b"a:b", "数据".encode(), b"\x1b[31mred", b"*"]
out = os.fsencode(os.environ["ORCH_OUTPUT_DIR"])
for name in names:
    with open(os.path.join(out, name), "wb") as file:
        file.write(name)
os.symlink("../../../../../../escaped", os.path.join(out, b"leads-out"))
with open(os.path.join(out, b"names.json"), "w") as file:
    json.dump([name.decode("latin-1") for name in names], file)
"""


def test_a_repository_nobody_here_wrote(tmp_path: Path) -> None:
    with SshLaptop(tmp_path) as ssh:
        laptop = ssh.laptop
        package = Path(rich.__file__).parent
        shutil.copytree(package, laptop.folder / "src" / "rich", ignore=shutil.ignore_patterns("__pycache__"))
        run = "PYTHONPATH=. python -c 'import rich; print(rich.__file__)'; wc -c rich/console.py"
        laptop.jobs_yaml(f'jobs: {{t: {{run: "{run}", code: {{dir: src}}, outputs: []}}}}\n')
        done = laptop.orch("submit")
        assert "workdir/src/rich/__init__.py" in done.stdout
        assert str((package / "console.py").stat().st_size) in done.stdout


@pytest.mark.parametrize("when", ["code", "jobs.yaml"])
def test_what_is_edited_after_submit_changes_nothing(tmp_path: Path, when: str) -> None:
    with SshLaptop(tmp_path) as ssh:
        laptop = ssh.laptop
        laptop.write("train.py", "print('as submitted')\n")
        jobs = "jobs: {t: {run: 'until [ -e ~/go ]; do sleep 0.05; done; python train.py; echo first file'}}\n"
        laptop.jobs_yaml(jobs)
        # The setup holds the job back, so that its workdir is made after the edit.
        laptop.jobs_yaml(jobs.replace("{run:", "{setup: 'until [ -e ~/go ]; do sleep 0.05; done', run:"))
        told = laptop.json("submit", "-d")
        if when == "code":
            laptop.write("train.py", "print('edited')\n")
            (laptop.folder / "new.txt").touch()
        else:
            laptop.jobs_yaml("jobs: {t: {run: echo second file}}\n")
        ssh.go()
        laptop.orch("wait", told["submission"])
        assert laptop.orch("logs", told["submission"]).stdout == "as submitted\nfirst file\n"
