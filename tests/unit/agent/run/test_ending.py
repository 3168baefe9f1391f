"""Reasons from status and log tail."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_payload.agent.run.ending import Outcome, conclude, last_line

DATA = Path(__file__).parent / "data"


def end(code: int | None = 1, signum: int | None = None, stopped: str | None = None, tail: bytes = b"") -> str:
    return conclude(Outcome(code, signum, stopped, tail)).reason


@pytest.mark.parametrize("line", (DATA / "gpu-memory.lines.txt").read_bytes().splitlines())
def test_out_of_gpu_memory(line: bytes) -> None:
    assert end(tail=b"Traceback (most recent call last):\n" + line + b"\n") == "out_of_memory"


@pytest.mark.parametrize("line", (DATA / "cuda-errors.lines.txt").read_bytes().splitlines())
def test_cuda_errors(line: bytes) -> None:
    assert end(tail=line) == "cuda_error"


@pytest.mark.parametrize("line", (DATA / "disk-full.lines.txt").read_bytes().splitlines())
def test_disk_full(line: bytes) -> None:
    assert end(tail=line) == "disk_full"


def test_a_full_dev_shm_is_not_the_disk() -> None:
    line = b"RuntimeError: unable to allocate shared memory(shm) for file </torch_7113_0>: No space left on device (28)"
    assert end(tail=line) == "exit_nonzero"


def test_a_bug_in_the_users_code_is_not_a_cuda_error() -> None:
    assert end(tail=b"RuntimeError: CUDA error: device-side assert triggered") == "exit_nonzero"
    assert end(tail=b"RuntimeError: CUDA error: no kernel image is available for execution") == "exit_nonzero"


def test_exit_codes_and_signals_are_apart() -> None:
    assert conclude(Outcome(3, None, None, b""))[:3] == ("exit_nonzero", 3, None)
    assert conclude(Outcome(None, 11, None, b"")) == ("signal", None, 11, "SIGSEGV")
    assert conclude(Outcome(139, None, None, b"")) == ("exit_nonzero", 139, None, "a command in it ended by SIGSEGV")


def test_sigkill_not_sent_by_us_is_likely_the_ram_limit() -> None:
    for code, signum in ((137, None), (None, 9)):
        ending = conclude(Outcome(code, signum, None, b"Killed\n"))
        assert ending.reason == "out_of_memory"
        assert "likely the RAM limit" in ending.detail


def test_whether_the_kernel_did_it_is_known_where_it_counts() -> None:
    for code, signum, other in ((137, None, "exit_nonzero"), (None, 9, "signal")):
        by_kernel = conclude(Outcome(code, signum, None, b"", True))
        assert (by_kernel.reason, by_kernel.detail) == (
            "out_of_memory",
            "killed by the kernel: the RAM limit was reached",
        )
        assert conclude(Outcome(code, signum, None, b"", False)).reason == other


def test_an_xid_is_a_gpu_error() -> None:
    assert end(1, None, None, b"NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n") == "cuda_error"


def test_cancel_and_timeout() -> None:
    assert end(None, 15, "cancel") == "cancelled_by_user"
    assert end(143, None, "cancel", b"CUDA out of memory") == "cancelled_by_user"
    assert end(0, None, "cancel") == "exit_zero"
    assert end(None, 9, "timeout") == "timeout"
    assert end(0, None, "timeout") == "timeout"


def test_a_failed_activation_names_the_trouble() -> None:
    tail = b"[orch] environment: python is not found instead of /x/bin/python\n"
    assert conclude(Outcome(121, None, None, tail)).detail == "python is not found instead of /x/bin/python"
    assert end(121, None, None, tail) == "environment_missing"
    assert end(121) == "exit_nonzero"


def test_last_line_skips_blanks_and_orchs_own() -> None:
    assert last_line(b"a\n\x1b[31mERROR: no\x1b[0m\r\n\n[orch] ended\n") == "ERROR: no"
    assert last_line(b"") == ""
