"""A host's queue as a whole through the command line: paused and resumed, another host's, adopted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until

ANOTHER = "h-00000000000000ff"


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    made.jobs_yaml("jobs: {train: {run: echo trained}}\n")
    made.orch("host", "add", "here", "local")
    return made


def waiting_for(laptop: Laptop) -> str | None:
    (job,) = laptop.json("status")["jobs"]
    return str(job["waiting_for"])


def spool(laptop: Laptop) -> Path:
    (folder,) = (laptop.home / ".orch" / "hosts").glob("*/spool")
    return folder


def give_away(laptop: Laptop) -> None:
    """Make the spool another host's, as a copied disk is."""
    said = spool(laptop) / "host.json"
    said.write_text(json.dumps({**json.loads(said.read_text()), "host_id": ANOTHER}))


def end_keeper(root: Path) -> None:
    pid = json.loads((root / "keeper" / "pid.json").read_text())["pid"]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_paused_host_starts_nothing_until_it_is_resumed(laptop: Laptop) -> None:
    assert "orch host resume here" in laptop.orch("host", "pause", "here").stderr
    laptop.orch("host", "pause", "here")
    laptop.orch("submit", "-d")
    wait_until(lambda: waiting_for(laptop) == "host_paused", 30)
    shown = laptop.orch("status").stdout
    assert "here: paused by" in shown and "orch host resume here" in shown
    assert [host["paused"] for host in laptop.json("status")["hosts"]] == [True]
    assert laptop.json("host", "resume", "here") == [{"host": "here", "paused": False}]
    laptop.orch("wait", "train")
    assert "paused" not in laptop.orch("status").stdout
    laptop.orch("host", "resume", "here")


def test_another_hosts_queue_rests_and_says_so_until_it_is_adopted(laptop: Laptop) -> None:
    laptop.orch("host", "pause", "here")
    laptop.orch("submit", "-d")
    give_away(laptop)
    assert waiting_for(laptop) == "spool_moved"
    shown = laptop.orch("status").stdout
    assert ANOTHER in shown and "orch host adopt here" in shown
    assert [host["moved"] for host in laptop.json("status")["hosts"]] == [True]
    assert "orch host adopt here" in laptop.orch("check").stdout
    assert "belongs to another host" in laptop.orch("submit", "-d", "--again", code=3).stderr
    assert "Add -y" in laptop.orch("host", "adopt", "here", code=4).stderr
    assert laptop.json("host", "adopt", "here", "-y")["adopted"] is True
    assert waiting_for(laptop) != "spool_moved"
    laptop.orch("host", "resume", "here")
    laptop.orch("wait", "train")
    assert laptop.json("host", "adopt", "here", "-y")["adopted"] is False


def test_a_queue_left_behind_in_this_home_is_told_of_and_taken_over(laptop: Laptop) -> None:
    laptop.orch("host", "pause", "here")
    laptop.orch("submit", "-d")
    old = spool(laptop)
    # As in a cloned container: the same home, another name of the machine.
    folder = laptop.home / ".orch" / "hosts" / ANOTHER
    shutil.copytree(old, folder / "spool", ignore=shutil.ignore_patterns("lock", "poke", "pid.json"))
    end_keeper(old)
    (folder / "root").write_text(f"{folder / 'spool'}\n")
    shutil.rmtree(old.parent)
    give_away(laptop)
    command = f"orch host adopt here --from {ANOTHER}"
    for words in (["status"], ["check"], ["host", "add", "here", "local"]):
        done = laptop.orch(*words)
        said = done.stdout + done.stderr
        assert command in " ".join(said.split()) and "1 unfinished job " in said, words
    assert "--from" in laptop.orch("host", "adopt", "here", "-y", code=2).stderr
    assert "no queue of" in laptop.orch("host", "adopt", "here", "--from", "h-1", "-y", code=2).stderr
    laptop.orch("host", "adopt", "here", "--from", ANOTHER, "-y")
    laptop.orch("host", "resume", "here")
    laptop.orch("wait", "train")
    assert command not in laptop.orch("status").stdout


def test_the_queue_goes_on_after_a_reboot(tmp_path: Path) -> None:
    tools, tab = tmp_path / "tools", tmp_path / "tab"
    tools.mkdir()
    tab.write_text("0 3 * * * backup\n")
    (tools / "crontab").write_text(f'#!/bin/sh\nif [ "$1" = -l ]; then cat {tab}; else cp "$1" {tab}; fi\n')
    (tools / "crontab").chmod(0o755)
    laptop = Laptop(tmp_path / "home", tmp_path / "project", env={"PATH": f"{tools}:{os.environ['PATH']}"})
    laptop.jobs_yaml("jobs: {train: {run: echo trained}}\n")
    laptop.orch("host", "add", "here", "local")
    assert laptop.json("host", "autostart", "here")["kind"] == "crontab"
    assert "crontab" in laptop.orch("host", "autostart", "here").stderr
    laptop.orch("host", "pause", "here")
    laptop.orch("submit", "-d")
    wait_until(lambda: waiting_for(laptop) == "host_paused", 30)
    end_keeper(spool(laptop))
    (spool(laptop) / "keeper" / "paused.json").unlink()
    other, line = tab.read_text().splitlines()
    assert other == "0 3 * * * backup" and line.startswith("@reboot ")
    # As cron does it: sh, and next to nothing in the environment. (A % would have to be unescaped.)
    cron = {"HOME": str(laptop.home), "LOGNAME": "tester", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    subprocess.run(["/bin/sh", "-c", line.removeprefix("@reboot ")], env=cron, timeout=60, check=True)
    ended = spool(laptop) / "jobs"
    assert [json.loads(path.read_text())["reason"] for path in ended.glob("*/attempts/1/end.json")] == ["exit_zero"]
    laptop.orch("host", "autostart", "here", "--off")
    assert tab.read_text() == "0 3 * * * backup\n"
