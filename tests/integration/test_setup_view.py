"""A setup that takes its time is seen at work: in a terminal at once, elsewhere now and then."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.api import Located, Orch
from orchestrator.cli.live import SETUP_EVERY, LiveView
from remote_payload.agent.wire.messages import JobView
from tests.harness.cli import Laptop
from tests.harness.submitting import job_spec
from tests.harness.terminal import Terminal

SETUP = "echo Collecting torch; until [ -e ~/go ]; do sleep 0.05; done"


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    made.orch("host", "add", "here", "local")
    made.jobs_yaml(f"jobs: {{train: {{setup: '{SETUP}', run: echo trained}}}}\n")
    yield made
    (made.home / "go").touch()


def test_in_a_terminal_its_last_line_and_its_time_are_drawn(laptop: Laptop) -> None:
    with Terminal(laptop, "submit") as terminal:
        seen = re.compile(r"train +PENDING +here +its setup is running \((\d+)s\): Collecting torch")
        terminal.wait_for(lambda text: bool(seen.search(text)))
        first = int(seen.findall("\n".join(terminal.screen()))[-1])
        terminal.wait_for(lambda text: any(int(seconds) > first for seconds in seen.findall(text)))
        assert re.search(r"its setup is running \(\d+s\): Collecting torch", laptop.orch("status").stdout)
        (laptop.home / "go").touch()
        assert terminal.wait() == 0
        assert "train │ trained" in terminal.text()


def test_without_a_terminal_it_is_said_when_it_begins(laptop: Laptop) -> None:
    (laptop.home / "go").touch()
    done = laptop.orch("submit")
    assert "train │ pending: its setup is running" in done.stderr
    assert done.stdout == "train │ trained\n"


def test_without_a_terminal_a_long_one_is_told_of_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orch").mkdir()
    with Orch(home=tmp_path / "orch") as orch:
        view = orch.first_view(job_spec("s-1", "0" * 64, "true", name="train", submitted_at=time.time()))
        live = LiveView(orch, [Located("here", view)])
        for elapsed in (0, 3, SETUP_EVERY, SETUP_EVERY + 4, 2 * SETUP_EVERY):
            progress = {"text": f"line {elapsed}", "elapsed_s": elapsed}
            shown: JobView = {**view, "waiting_for": "env_building", "progress": progress}
            live._state("here", shown)
        live._state("here", {**view, "waiting_for": "env_building", "progress": {"elapsed_s": "hostile"}})
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in told] == ["line 0", f"line {SETUP_EVERY}", f"line {2 * SETUP_EVERY}"]
