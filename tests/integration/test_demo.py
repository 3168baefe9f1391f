"""`orch demo`: the whole path in one command, from nothing to results, and nothing left behind."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.demo_pip import write_pip_settings
from tests.harness.cli import Laptop
from tests.harness.strays import strays
from tests.harness.waiting import wait_until

ROOT = Path(__file__).parents[2]


class Installed(Laptop):
    """A laptop on which orch was installed from its wheel, not run from the checkout."""

    def install(self, folder: Path) -> None:
        """Build the wheel and install it into `folder`; what it depends on is taken from the suite's own Python."""
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder / "dist"), str(ROOT)], check=True)
        (wheel,) = (folder / "dist").glob("*.whl")
        subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "lib"), str(wheel)], check=True)
        self._program = folder / "lib" / "bin" / "orch"
        # Before the checkout, where the suite's own installation may lead.
        self.env["PYTHONPATH"] = str(folder / "lib")
        self.env["PATH"] = f"{self._program.parent}:{os.environ['PATH']}"

    def argv(self, *words: str) -> list[str]:
        return [str(self._program), *words]


def digests(*roots: Path) -> dict[str, str]:
    """SHA-256 of every file below some folders, by its path below its folder."""
    found = {}
    for root in roots:
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.timeout(420)
def test_installed_from_its_wheel_it_runs_everything_and_ends_by_itself(tmp_path: Path) -> None:
    laptop = Installed(tmp_path / "home", tmp_path / "some where")
    laptop.install(tmp_path / "installed")
    # The setup really installs PyTorch, from where this machine's pip takes it.
    write_pip_settings(laptop.home)
    done = laptop.orch("demo", timeout=400)
    assert strays(tmp_path) == []

    host = laptop.home / "orch" / "demo" / "host"
    (results,) = (laptop.folder / "orch-demo" / "results").glob("s-*/train")
    view = json.loads((results / "job.json").read_text())
    assert (view["state"], view["exit_code"], view["host"]) == ("SUCCEEDED", 0, "demo")
    (job,) = host.glob(f".orch/hosts/*/spool/jobs/{view['id']}")
    here, there = digests(results), digests(job / "outputs")
    assert {"metrics.jsonl", "model.pt", "checkpoint.pt"} <= set(there)
    assert here.pop("log") == hashlib.sha256((job / "attempts" / "1" / "log").read_bytes()).hexdigest()
    del here["job.json"]
    assert here == there

    assert "epoch 3/3" in done.stdout
    assert "started a real sshd on 127.0.0.1:" in done.stderr
    assert f"results/{view['submission']}/train" in done.stderr.replace("\n", "")
    told = [line.strip() for line in done.stderr.splitlines()]
    assert 'orch host add box "ssh -p 38076 root@connect.example.com"' in told
    assert told[-2:] == ["orch init", "orch submit jobs.yaml"]
    # Nothing was written but the demo's own folder and the laptop's state.
    assert [path.name for path in laptop.folder.iterdir()] == ["orch-demo"]
    assert {path.name for path in laptop.home.iterdir()} <= {"orch", ".config", ".cache"}
    assert not (laptop.home / "orch" / "hosts.yaml").exists()
    shutil.rmtree(host)  # most of a gigabyte


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_stopped_in_the_middle_it_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "project")
    running = laptop.start("demo")
    try:
        wait_until(lambda: any("setup" in told for told in strays(tmp_path)), 60, "the setup runs")
        running.send_signal(number)
        _, told = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert strays(tmp_path) == []
    assert "orch attach" not in told, "there is no way back: the host is gone"
    (view,) = (laptop.home / "orch").glob("demo/host/.orch/hosts/*/spool/jobs/*/cancel.json")
    assert json.loads(view.read_text())["by"] == "demo"


def test_on_a_host_of_the_inventory(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "project")
    # A workstation with PyTorch in the Python of its login shell: the setup finds everything there.
    (laptop.home / ".profile").write_text(f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n")
    laptop.orch("host", "add", "workstation", "local")
    assert "nowhere" in laptop.orch("demo", "--host", "nowhere", code=2).stderr
    assert list(laptop.folder.iterdir()) == []

    done = laptop.orch("demo", "--host", "workstation", timeout=150)
    assert "sshd" not in done.stderr
    assert "orch submit jobs.yaml" in done.stderr
    (job,) = laptop.json("status", "-A")["jobs"]
    assert (job["name"], job["project"], job["host"], job["state"]) == ("train", "digits", "workstation", "SUCCEEDED")
    assert "nothing to install" in laptop.orch("logs", job["id"], "--setup", "-A").stdout
    (results,) = (laptop.folder / "orch-demo" / "results").glob("s-*/train")
    assert digests(results).keys() >= {"metrics.jsonl", "model.pt"}
    wait_until(lambda: strays(tmp_path) == [], 60, "the keeper ends when there is nothing to do")
