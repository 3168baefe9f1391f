"""The command line as a person runs it: a process of its own, in a project folder, with laptop state of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import warm

USUAL = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    "PYTHONUNBUFFERED": "1",
}
"""What Python itself is told in every command."""


def _is_pythons(name: str) -> bool:
    return name.startswith(("PYTHON", "LC_", "LANG"))


@dataclass
class Laptop:
    """One ORCH_HOME and one project folder.

    Args:
        home: the person's HOME.
        folder: where commands are typed.
    """

    home: Path
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a command: nothing of the developer's own but PATH."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ORCH_HOME": str(self.home / "orch"),
            **USUAL,
            "USER": "tester",
            **self.env,
            **(more or {}),
        }

    def argv(self, *words: str) -> list[str]:
        """Return the argv of an `orch` command."""
        return [sys.executable, "-m", "orchestrator.cli.main", *words]

    def orch(
        self, *words: str, code: int | None = 0, timeout: float = 90, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal.

        Args:
            code: the exit code it must have; None = any.
        """
        environment = self.environment(env)
        if any(environment.get(name) != USUAL.get(name) for name in (*USUAL, *environment) if _is_pythons(name)):
            done = self._cold(words, environment, timeout)
        else:
            done = warm.run("orchestrator.cli.main", words, self.folder, environment, timeout)
        if code is not None:
            assert done.returncode == code, (
                f"orch {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def _cold(
        self, words: tuple[str, ...], environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command whose Python is told otherwise than usual."""
        return subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )

    def json(self, *words: str, code: int | None = 0) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.orch("--json", *words, code=code).stdout)

    def output(self, *words: str) -> bytes:
        """Run a command that must succeed, without a terminal; return the bytes it printed."""
        return subprocess.run(
            self.argv(*words),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=90,
            check=True,
        ).stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own and return it running."""
        return subprocess.Popen(
            self.argv(*words),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def jobs_yaml(self, text: str) -> Path:
        """Write the project's jobs.yaml."""
        return self.write("jobs.yaml", text)
