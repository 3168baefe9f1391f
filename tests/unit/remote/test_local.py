"""The local transport: real processes, nothing left of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import UnreachableError
from orchestrator.remote.local import LocalTransport, plain_environment
from orchestrator.remote.streams import STDERR_KEPT, ByteStream
from tests.harness.waiting import wait_until


def open_descriptors() -> int:
    """Count this process's descriptors; /dev/fd is there on Linux and macOS."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[LocalTransport]:
    threads = set(threading.enumerate())
    descriptors = open_descriptors()
    made = LocalTransport("local", plain_environment(str(tmp_path)))
    yield made
    made.close()
    assert set(threading.enumerate()) <= threads
    assert open_descriptors() == descriptors


def read_all(stream: ByteStream) -> bytes:
    parts: list[bytes] = []
    while True:
        data = stream.recv(65536)
        if not data:
            return b"".join(parts)
        parts.append(data)


def test_runs_in_a_bare_environment(transport: LocalTransport, tmp_path: Path) -> None:
    stream = transport.open_stream("echo $HOME; echo $PATH; echo ${ORCH_HOME-none}")
    assert read_all(stream).decode().splitlines() == [
        str(tmp_path),
        "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "none",
    ]
    assert wait_until(lambda: stream.exit_status() is not None)
    assert stream.exit_status() == 0


def test_bytes_pass_unchanged_both_ways(transport: LocalTransport) -> None:
    stream = transport.open_stream("exec cat")
    data = bytes(range(256)) * 4096
    sender = threading.Thread(target=stream.send, args=(memoryview(data),), daemon=True)
    sender.start()
    got = b""
    while len(got) < len(data):
        got += stream.recv(65536)
    assert got == data
    sender.join(5)


def test_stderr_is_kept_at_its_end(transport: LocalTransport) -> None:
    stream = transport.open_stream("yes 0123456789 | head -c 100000 >&2; echo last >&2")
    assert read_all(stream) == b""
    wait_until(lambda: stream.stderr_tail().endswith(b"last\n"))
    assert len(stream.stderr_tail()) == STDERR_KEPT


def test_exit_status(transport: LocalTransport) -> None:
    stream = transport.open_stream("read line; exit 3")
    assert stream.exit_status() is None
    stream.send(b"\n")
    assert wait_until(stream.exit_status) == 3


def test_sending_to_a_command_that_is_gone(transport: LocalTransport) -> None:
    stream = transport.open_stream("exit 0")
    assert read_all(stream) == b""
    with pytest.raises(UnreachableError):
        while True:
            stream.send(b"x" * 65536)


def test_close_wakes_a_waiting_reader(transport: LocalTransport) -> None:
    stream = transport.open_stream("exec cat")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(stream.recv(1)), daemon=True)
    reader.start()
    stream.close()
    reader.join(5)
    assert got == [b""]
    stream.close()


def test_close_wakes_a_waiting_writer(transport: LocalTransport) -> None:
    stream = transport.open_stream("exec sleep 60")
    errors: list[Exception] = []

    def write() -> None:
        try:
            stream.send(b"x" * 10_000_000)
        except UnreachableError as error:
            errors.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    stream.close()
    writer.join(5)
    assert len(errors) == 1
    assert stream.exit_status() is not None


def test_close_ends_a_stubborn_command(transport: LocalTransport, tmp_path: Path) -> None:
    stream = transport.open_stream("trap '' TERM HUP; echo ready; while :; do sleep 0.1; done")
    assert stream.recv(100) == b"ready\n"
    stream.close()
    assert stream.exit_status() == -9


def test_closed_transport_opens_nothing(transport: LocalTransport) -> None:
    assert transport.is_alive()
    transport.close()
    assert not transport.is_alive()
    with pytest.raises(UnreachableError):
        transport.open_stream("true")
