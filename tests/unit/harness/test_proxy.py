"""The proxy does to a line what it says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.harness.proxy import Proxy
from tests.harness.waiting import wait_until


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A service that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            open_ones.append(sock)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[:2]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for sock in open_ones:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[Proxy]:
    before = set(threading.enumerate())
    with Proxy(echo) as made:
        yield made
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not [name for name in names if name.startswith("proxy")]


def connect(proxy: Proxy) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    sock.settimeout(5)
    return sock


def take(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        data = sock.recv(size - len(got))
        if not data:
            raise EOFError
        got += data
    return got


def trip(sock: socket.socket, data: bytes) -> float:
    began = time.monotonic()
    sock.sendall(data)
    assert take(sock, len(data)) == data
    return time.monotonic() - began


def test_passes_and_counts(proxy: Proxy) -> None:
    with connect(proxy) as sock:
        for _ in range(3):
            trip(sock, b"x" * 100)
    assert (proxy.connections, proxy.bytes_up, proxy.bytes_down, proxy.turns) == (1, 300, 300, 5)
    proxy.reset_counts()
    assert proxy.bytes_up == 0


def test_delays(proxy: Proxy) -> None:
    with connect(proxy) as sock:
        assert trip(sock, b"x") < 0.1
        proxy.delay = 0.1
        assert 0.2 <= trip(sock, b"x") < 0.5


def test_throttles(proxy: Proxy) -> None:
    proxy.rate = 200_000
    with connect(proxy) as sock:
        assert 0.4 <= trip(sock, b"x" * 100_000) < 2


def test_stalls_without_breaking(proxy: Proxy) -> None:
    with connect(proxy) as sock:
        trip(sock, b"x")
        proxy.stalled = True
        sock.settimeout(0.1)
        sock.sendall(b"y")
        with pytest.raises(TimeoutError):
            sock.recv(1)
        proxy.stalled = False
        sock.settimeout(5)
        assert take(sock, 1) == b"y"


def test_cuts_now(proxy: Proxy) -> None:
    with connect(proxy) as sock:
        trip(sock, b"x")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            while True:
                take(sock, 1)
    with connect(proxy) as sock:
        trip(sock, b"x")
    assert proxy.connections == 2


def test_cuts_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.cut_after(1000)
    with connect(proxy) as sock, contextlib.suppress(OSError, EOFError):
        sock.sendall(b"x" * 5000)
        take(sock, 5000)
    wait_until(lambda: proxy.bytes_up + proxy.bytes_down == 1000)


def test_refuses(proxy: Proxy) -> None:
    proxy.refusing = True
    with connect(proxy) as sock, contextlib.suppress(ConnectionError):
        assert sock.recv(1) == b""
    assert proxy.connections == 0


def test_passes_on_the_end(proxy: Proxy) -> None:
    with connect(proxy) as sock:
        sock.sendall(b"last")
        sock.shutdown(socket.SHUT_WR)
        assert take(sock, 4) == b"last"
        assert sock.recv(1) == b""
