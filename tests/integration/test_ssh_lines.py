"""What SSH does when the line is bad or the server narrow: torn handshakes, lost servers, MaxSessions, IPv6."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import HostError, UnreachableError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.asker import SilentAsker
from orchestrator.remote.dial import Dialer
from orchestrator.remote.hostkeys import KnownHosts
from orchestrator.remote.ssh import SshTransport
from orchestrator.remote.ssh_config import Resolved
from tests.harness.hosts import RealHost
from tests.harness.proxy import Proxy
from tests.harness.waiting import wait_until

PROFILE: dict[str, Any] = {"name": "generic", "identity": None, "root": None, "conda_roots": []}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with RealHost(tmp_path_factory.mktemp("host"), config=["MaxStartups 100"]) as made:
        yield made


def dialer(folder: Path, *lines: str) -> Dialer:
    (folder / "known_hosts").write_text("".join(lines))
    return Dialer(KnownHosts(folder / "known_hosts"), SilentAsker())


class Torn(Proxy):
    """Tears the first connections apart, after a greeting or at once."""

    def __init__(self, target: tuple[str, int], count: int) -> None:
        self.left = count
        self.times: list[float] = []
        super().__init__(target)

    def _join(self, near: socket.socket) -> None:
        self.times.append(time.monotonic())
        if self.left == 0:
            super()._join(near)
            return
        self.left -= 1
        if self.left % 2:
            near.sendall(b"SSH-2.0-torn\r\n")
        near.close()


def through(line: Proxy, host: RealHost) -> tuple[Resolved, str]:
    return replace(host.resolved(), port=line.port), host.known_line(f"[127.0.0.1]:{line.port}")


def test_torn_handshakes_are_tried_again_each_host_at_its_own_pace(host: RealHost, tmp_path: Path) -> None:
    lines = [Torn(("127.0.0.1", host.server.port), 3) for _ in range(3)]
    try:
        ways = [through(line, host) for line in lines]
        dial = dialer(tmp_path, *(text for _, text in ways))
        with ThreadPoolExecutor(3) as pool:
            for connection in pool.map(lambda way: dial.connect(way[0], "box"), ways):
                connection.close()
        assert [len(line.times) for line in lines] == [4, 4, 4]
        gaps = [round(later - sooner, 3) for line in lines for sooner, later in pairwise(line.times)]
        assert len(set(gaps)) > 3, f"in step with each other: {gaps}"
    finally:
        for line in lines:
            line.stop()


def test_a_line_that_is_always_torn_is_given_up(host: RealHost, tmp_path: Path) -> None:
    line = Torn(("127.0.0.1", host.server.port), 1000)
    try:
        where, text = through(line, host)
        with pytest.raises(UnreachableError, match=rf"box: 127\.0\.0\.1:{line.port}: "):
            dialer(tmp_path, text).connect(where, "box")
        assert 2 <= len(line.times) <= 5
    finally:
        line.stop()


def test_what_answers_is_no_ssh_server(host: RealHost, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                sock.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        where = replace(host.resolved(), port=listener.getsockname()[1])
        with pytest.raises(UnreachableError, match="it answers, but not as an SSH server"):
            dialer(tmp_path).connect(where, "box")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_nothing_listens_and_no_such_name(host: RealHost, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="nothing listens there"):
        dialer(tmp_path).connect(replace(host.resolved(), port=1), "box")
    with pytest.raises(HostError, match="there is no host"):
        dialer(tmp_path).connect(replace(host.resolved(), host="no-such-host.invalid"), "box")


def link_to(host: RealHost, folder: Path) -> AgentLink:
    where = host.resolved()
    connection = dialer(folder, host.known_line()).connect(where, "box")
    return AgentLink.open("box", SshTransport("box", connection, where), profile=PROFILE)


def test_everybody_who_waits_learns_at_once_that_the_server_is_gone(host: RealHost, tmp_path: Path) -> None:
    link = link_to(host, tmp_path)
    running = threading.Semaphore(0)

    def wait_for_ever(number: int) -> float:
        with pytest.raises(UnreachableError):
            for _ in link.exec(["sh", "-c", f"echo {number}; exec sleep 600"]):
                running.release()
        return time.monotonic()

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(wait_for_ever, number) for number in range(4)]
        for _ in waiting:
            assert running.acquire(timeout=30)
        dropped = time.monotonic()
        host.server.drop()
        assert max(one.result(30) for one in waiting) - dropped < 5
    assert not link.is_alive()
    link.close()


def test_one_session_only(tmp_path: Path) -> None:
    """A second channel is refused: code goes up and results come home over the first."""
    with RealHost(tmp_path, config=["MaxSessions 1"]) as host:
        link = link_to(host, tmp_path)
        assert link.bulk() is link.rpc
        link.close()
        laptop = host.laptop()
        laptop.write("data.bin", "x" * 300_000)
        laptop.jobs_yaml("jobs: {train: {run: 'cp data.bin $ORCH_OUTPUT_DIR/copy'}}\n")
        laptop.orch("host", "add", "box", host.login)
        laptop.orch("submit")
        (copy,) = (laptop.folder / "results").rglob("copy")
        assert copy.read_text() == "x" * 300_000


def loopbacks() -> list[str]:
    """Return the loopback addresses of this machine: containers often have no IPv6."""
    found = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with suppress(OSError), socket.socket(family) as probe:
            probe.bind((address, 0))
            found.append(address)
    return found


@pytest.mark.parametrize("address", loopbacks())
def test_addresses_of_both_kinds(tmp_path: Path, address: str) -> None:
    with RealHost(tmp_path, config=[f"ListenAddress {address}"]) as host:
        laptop = host.laptop(known=False)
        port = host.server.port
        line = f"ssh -p {port} -i {host.key} {host.user_name}@{address}"
        laptop.orch("host", "add", "box", line, "--accept-new")
        known = (laptop.home / "orch" / "known_hosts").read_text()
        assert known == host.known_line(f"[{address}]:{port}")
        assert laptop.orch("exec", "box", "--", "echo", "it works").stdout == "it works\n"
        # As a hop, too.
        where = replace(host.resolved(), jumps=(replace(host.resolved("hop"), host=address, port=port),))
        dial = dialer(tmp_path, host.known_line(), known)
        dial.connect(where, "box").close()
        dial.close()
        wait_until(lambda: not host.server.sessions(), 10, "connections ended")
