"""The crash points: each is where the registry says, kills only when asked, and never reaches a job."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from remote_payload.agent import crash
from remote_payload.agent.run import jobenv

AGENT = Path(crash.__file__).parent
ROOT = AGENT.parents[1]
CALLS = "from remote_payload.agent.crash import crash; crash({!r}); print('alive')"


def calls() -> list[tuple[str, str]]:
    """Return (file, name) of every call of crash() in the agent's sources; a name that is no plain text is "?"."""
    found = []
    for path in sorted(AGENT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash":
                named = node.args[0] if node.args else None
                name = named.value if isinstance(named, ast.Constant) else "?"
                found.append((path.relative_to(AGENT).as_posix(), str(name)))
    return found


def run(name: str, armed: str | None) -> tuple[int, str]:
    env = {"PYTHONPATH": str(ROOT), **({crash.POINTS_VARIABLE: armed} if armed is not None else {})}
    ran = subprocess.run(
        [sys.executable, "-c", CALLS.format(name)], env=env, capture_output=True, text=True, timeout=30
    )
    return ran.returncode, ran.stdout


def test_every_point_is_called_once_where_it_says_and_every_call_is_registered() -> None:
    registered = [(point.file, name) for name, point in crash.POINTS.items()]
    assert sorted(calls()) == sorted(registered)
    assert all(point.words for point in crash.POINTS.values())


def test_it_kills_only_at_the_point_that_was_named() -> None:
    assert run("end.filled", None) == (0, "alive\n")
    assert run("end.filled", "end.renamed;claim.gpus") == (0, "alive\n")
    assert run("end.filled", "end.renamed;end.filled") == (-signal.SIGKILL, "")


def test_the_nth_passing_of_all_processes_kills_once(tmp_path: Path) -> None:
    armed = f"end.filled:3:{tmp_path}/count"
    assert [run("end.filled", armed)[0] for _ in range(5)] == [0, 0, -signal.SIGKILL, 0, 0]


def test_a_name_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no crash point 'end\.nowhere'"):
        crash.parse("end.nowhere")
    assert crash.parse("end.filled:2:/x;claim.gpus") == {"end.filled": (2, "/x"), "claim.gpus": (1, "")}
    assert run("end.filled", "end.nowhere")[0] not in (0, -signal.SIGKILL)


def test_the_clock_is_ahead_by_what_the_file_says(tmp_path: Path) -> None:
    code = "import time; from remote_payload.agent import crash; print(time.time())"

    def now() -> float:
        env = {"PYTHONPATH": str(ROOT), crash.CLOCK_VARIABLE: str(tmp_path / "clock")}
        ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30)
        return float(ran.stdout)

    before = now()
    (tmp_path / "clock").write_text("-3600")
    assert before - 3600 <= now() <= before - 3600 + 60


def test_the_agents_own_processes_inherit_it_and_jobs_never_do() -> None:
    environ = {**os.environ, crash.POINTS_VARIABLE: "end.filled", crash.CLOCK_VARIABLE: "/x"}
    assert set(crash.VARIABLES) <= set(jobenv.agent_environment(environ))
    assert not set(crash.VARIABLES) & set(jobenv.base_environment({}, environ))
    assert not set(crash.VARIABLES) & set(jobenv.agent_environment({"HOME": "/root"}))
