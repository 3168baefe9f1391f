"""One short command under a deadline."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from remote_payload.agent.machine.tool import MAX_OUTPUT, own_env, run_tool


def test_output_code_and_streams_apart() -> None:
    ran = run_tool(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
    assert (ran.exit_code, ran.stdout, ran.stderr, ran.timed_out, ran.missing) == (3, b"out\n", b"err\n", False, False)


def test_missing_and_not_executable_are_told_apart(tmp_path: Path) -> None:
    assert run_tool([str(tmp_path / "none")], 10).missing
    plain = tmp_path / "plain"
    plain.write_text("x")
    ran = run_tool([str(plain)], 10)
    assert (ran.missing, ran.exit_code) == (False, None)
    assert run_tool(["nul\0byte"], 10).exit_code is None


def test_a_flood_is_cut() -> None:
    ran = run_tool([sys.executable, "-c", f"import sys; sys.stdout.write('x' * {MAX_OUTPUT * 3})"], 30)
    assert ran.exit_code == 0
    assert len(ran.stdout) == MAX_OUTPUT


def test_what_came_before_the_deadline_is_kept() -> None:
    begun = time.monotonic()
    ran = run_tool(["sh", "-c", "echo begun; exec sleep 300"], 1)
    assert (ran.exit_code, ran.timed_out, ran.stdout) == (None, True, b"begun\n")
    assert time.monotonic() - begun < 10


def test_a_child_that_keeps_the_pipe_open_does_not_hold_us_for_ever() -> None:
    begun = time.monotonic()
    ran = run_tool(["sh", "-c", "sleep 2 & echo done"], 60)
    assert (ran.exit_code, ran.stdout) == (0, b"done\n")
    assert time.monotonic() - begun < 1.9


def test_the_command_reads_nothing_of_ours() -> None:
    assert run_tool(["cat"], 10).stdout == b""


def test_environment_is_ours_with_plain_words() -> None:
    env = own_env("/usr/bin:/bin", EXTRA="1")
    assert (env["LC_ALL"], env["PATH"], env["EXTRA"]) == ("C", "/usr/bin:/bin", "1")
