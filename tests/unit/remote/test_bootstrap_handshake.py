"""The first exchange, against a far end that says what hosts say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from orchestrator.errors import AgentError, HostError, UnreachableError
from orchestrator.remote.bootstrap import PAYLOAD_MAGIC, Greeting, handshake
from orchestrator.remote.payload import Payload
from remote_payload.agent.wire.protocol import START_MARKER
from tests.harness.peer import SocketStream

AGENT = Payload("0" * 64, b"archive")
REQUESTS = b"<requests>"
READY = START_MARKER + b"ready\n"


class Host:
    """The far end of a handshake that runs in a thread of its own."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(10)
        self.stream = SocketStream(near)
        self.greeting: Greeting | None = None
        self.error: HostError | None = None
        self._thread = threading.Thread(target=lambda: None)

    def begin(self, *, expect: bool = False, timeout: float = 10.0) -> Host:
        def run() -> None:
            try:
                self.greeting = handshake(self.stream, AGENT, REQUESTS, host="gpu1", expect=expect, timeout=timeout)
            except HostError as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def expect(self, wanted: bytes) -> None:
        got = b""
        while len(got) < len(wanted):
            got += self.far.recv(len(wanted) - len(got))
        assert got == wanted

    def end(self) -> Host:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self


@pytest.fixture
def host() -> Iterator[Host]:
    before = set(threading.enumerate())
    made = Host()
    yield made
    made.stream.close()
    made.far.close()
    assert set(threading.enumerate()) <= before


def test_ready(host: Host) -> None:
    host.begin()
    host.far.sendall(b"Welcome\r\n" + READY + b"oR-first-frame")
    host.expect(REQUESTS)
    assert host.end().greeting == Greeting(False, b"Welcome\r\n", b"oR-first-frame")


def test_expected_agent_is_asked_before_it_says_anything(host: Host) -> None:
    host.begin(expect=True)
    host.expect(REQUESTS)
    host.far.sendall(READY)
    assert host.end().greeting == Greeting(False, b"", b"")
    host.far.settimeout(0.05)
    with pytest.raises(TimeoutError):
        host.far.recv(1)


@pytest.mark.parametrize("expect", [False, True])
def test_need_sends_the_archive_and_asks_again(host: Host, expect: bool) -> None:
    host.begin(expect=expect)
    if expect:
        host.expect(REQUESTS)
    for byte in START_MARKER + b"need\n":
        host.far.sendall(bytes([byte]))
    host.expect(PAYLOAD_MAGIC + b"archive" + REQUESTS)
    host.far.sendall(READY + b"oR")
    assert host.end().greeting == Greeting(True, b"", b"oR")


def test_failed_installation(host: Host) -> None:
    host.begin()
    host.far.sendall(START_MARKER + b"need\n")
    host.expect(PAYLOAD_MAGIC)
    host.far.sendall(START_MARKER + b"fail no room on \x1b[1mdisk\n")
    error = host.end().error
    assert isinstance(error, AgentError)
    assert error.message == "gpu1: no room on disk"
    assert error.code == "install"
    assert error.hint


def test_forced_command_is_quoted_harmlessly_and_short(host: Host) -> None:
    host.begin()
    host.far.sendall(b"This account is \x1b[31mcurrently\x07 not available.\n" + b"x" * 1000)
    host.far.close()
    error = host.end().error
    assert isinstance(error, AgentError)
    assert "it said: This account is currently not available. xxx" in error.message
    assert len(error.message) < 300
    assert error.code == "no_marker"


def test_refusal_on_stderr_is_shown_when_stdout_is_empty(host: Host) -> None:
    host.stream.errors = b"rbash: line 1: exec: restricted\n"
    host.begin()
    host.far.close()
    error = host.end().error
    assert isinstance(error, AgentError)
    assert "rbash: line 1: exec: restricted" in error.message


def test_line_that_just_ends(host: Host) -> None:
    host.begin()
    host.far.close()
    assert isinstance(host.end().error, UnreachableError)


@pytest.mark.parametrize("said", [b"", b"Press ENTER to continue"])
def test_silence_ends_in_time(host: Host, said: bytes) -> None:
    host.begin(timeout=0.1)
    host.far.sendall(said)
    error = host.end().error
    assert isinstance(error, AgentError)
    assert "did not start the agent in time" in error.message
    assert said.decode() in error.message
    assert host.stream.closed


def test_endless_noise_is_not_kept(host: Host) -> None:
    host.begin()
    for _ in range(50):
        host.far.sendall(b"noise " * 2000)
    host.far.sendall(READY)
    host.expect(REQUESTS)
    greeting = host.end().greeting
    assert greeting is not None
    assert greeting.noise.startswith(b"noise noise")
    assert len(greeting.noise) < 200_000


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"", "gpu1 has no Python that orch can find"),
        (b"/usr/bin/python3:3.6.8", "gpu1 has no Python new enough: /usr/bin/python3 is 3.6.8; 3.8 is needed"),
        (b"/a:3.7.1,/b:2.7.18", "gpu1 has no Python new enough: /a is 3.7.1, /b is 2.7.18; 3.8 is needed"),
    ],
)
def test_no_python(host: Host, said: bytes, shown: str) -> None:
    host.begin()
    host.far.sendall(b"banner\nORCH1-NO-PYTHON " + said + b"\n")
    host.far.close()
    error = host.end().error
    assert isinstance(error, AgentError)
    assert (error.message, error.code) == (shown, "no_python")
