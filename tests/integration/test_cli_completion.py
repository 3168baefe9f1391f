"""Completion in real shells at real terminals: from what the laptop remembers, without a connection."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.harness.cli import Laptop
from tests.harness.submitting import job_spec
from tests.harness.terminal import Terminal

SHELLS = {
    "bash": ["bash", "-i"],
    "zsh": ["zsh", "-i"],
    "fish": ["fish", "-i"],
}


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "orch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestrator.cli.main "$@"\n')
    program.chmod(0o755)
    made.env = {"PATH": f"{programs}:{made.environment()['PATH']}", "PS1": "$ ", "LANG": "C.UTF-8"}
    # A system's own rc files may put the folder into the prompt, and a long one breaks the line that is looked for.
    for rc in (".bashrc", ".zshrc"):
        (made.home / rc).write_text("PS1='$ '\n")
    return made


@pytest.fixture
def silent_host(laptop: Laptop) -> Iterator[socket.socket]:
    """A host that takes connections, so that one can be seen, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        laptop.orch("host", "add", "gpubox", f"ssh -p {port} root@127.0.0.1", "--no-check")
        yield listener


def remember(laptop: Laptop, *names: str) -> None:
    """Have the laptop know jobs of these names, as if the host had told."""
    views = []
    for name in names:
        spec = job_spec("s-abcdefghjk", "snapshot", "true", name=name, job=name)
        views.append({**spec, "state": "RUNNING", "submitted_at": 1.0})
    with Store(laptop.home / "orch" / "orch.db") as store:
        store.save_views("gpubox", views, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_hosts_and_jobs(laptop: Laptop, silent_host: socket.socket, shell: str) -> None:
    with Terminal(laptop, argv=[shell, "-c", "orch --install-completion; true"]) as terminal:
        terminal.wait()
        assert "completion installed" in terminal.text()
    remember(laptop, "trainer", "evil$(touch${IFS}pwned)", "evil`touch pwned`", "evil';touch pwned;'")
    with Terminal(laptop, argv=SHELLS[shell]) as terminal:
        terminal.press("echo re''ady\n")
        terminal.wait_for(lambda text: text.count("ready") >= 1)
        # zsh only loads the completion at the first tab of a session.
        terminal.press("orch che\t")
        terminal.press("ctrl-u")
        terminal.press("orch check gp\t")
        terminal.wait_for("orch check gpubox", 20)
        terminal.press("ctrl-u")
        terminal.press("orch logs -f tr\t")
        terminal.wait_for("orch logs -f trainer", 20)
        terminal.press("ctrl-u")
        terminal.press("orch attach s-ab\t")
        terminal.wait_for("orch attach s-abcdefghjk", 20)
        terminal.press("ctrl-u")
        terminal.press("orch logs evil\t")
        terminal.press("ctrl-u")
        terminal.press("orch sta\t")
        terminal.wait_for("orch status", 20)
    assert not (laptop.folder / "pwned").exists()
    with pytest.raises(BlockingIOError):
        silent_host.accept()


def test_a_broken_inventory_is_no_noise(laptop: Laptop) -> None:
    (laptop.home / "orch").mkdir()
    (laptop.home / "orch" / "hosts.yaml").write_text("][")
    (laptop.home / "orch" / "orch.db").write_text("no database " * 100)
    for line in ("orch check ", "orch logs "):
        env = {"COMP_WORDS": line, "COMP_CWORD": "2", "_ORCH_COMPLETE": "complete_bash"}
        done = laptop.orch(env=env)
        assert (done.stdout.strip(), done.stderr) == ("", "")
