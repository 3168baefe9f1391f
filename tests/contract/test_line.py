"""The real agent over bad lines: slow, narrow, silent, cut; with one channel only."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import AgentError, UnreachableError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.local import plain_environment
from orchestrator.remote.payload import payload
from tests.contract.conftest import PROFILE
from tests.harness.proxy import Proxy
from tests.harness.submitting import Sent, wait_final
from tests.harness.tcp_host import TcpHost, TcpTransport
from tests.harness.waiting import wait_until

SLOW = 1_000_000
"""Bytes a second of the narrow line."""
DELAY = 0.01
"""Seconds each way."""
PING_LIMIT = 2 * DELAY + 0.15
"""What a ping may take beside bulk: the budget for status while a pull runs."""


class Line:
    """A host, a proxy before it, and the links made through it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.host = TcpHost(plain_environment(str(home)))
        self.proxy = Proxy(("127.0.0.1", self.host.port))
        self.links: list[AgentLink] = []

    def link(self, most: int = 10, **options: Any) -> AgentLink:
        made = AgentLink.open("gpu1", TcpTransport(self.proxy.port, most), **{"profile": PROFILE, **options})
        self.links.append(made)
        return made

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.proxy.stop()
        self.host.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    home = tmp_path / "home"
    home.mkdir()
    made = Line(home)
    yield made
    made.close()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    # Digests do not compress, so what passes is what is written.
    blob = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(100_000))
    (folder / "weights.bin").write_bytes(blob)
    return folder


def worst_ping(link: AgentLink, during: threading.Thread) -> float:
    pings = [link.ping()]
    while during.is_alive():
        pings.append(link.ping())
    return sorted(pings)[int(len(pings) * 0.9)]


def test_round_trips_of_a_warm_start(line: Line) -> None:
    line.link()
    line.proxy.delay = 0.1
    line.proxy.reset_counts()
    line.link(expect_agent=payload().digest)
    # The command, hello and open share one round trip.
    assert line.proxy.turns <= 3


def test_cold_start_takes_one_round_trip_more(line: Line) -> None:
    line.link().close()
    line.proxy.delay = 0.1
    line.proxy.reset_counts()
    line.link()
    assert line.proxy.turns <= 5


@pytest.mark.parametrize("most", [10, 1])
def test_ping_beside_an_upload(line: Line, code: Path, most: int) -> None:
    link = line.link(most)
    line.proxy.delay, line.proxy.rate = DELAY, SLOW
    sent = Sent(code, "true")
    uploading = threading.Thread(target=lambda: sent.send(link), daemon=True)
    uploading.start()
    worst = worst_ping(link, uploading)
    assert worst < PING_LIMIT
    assert line.proxy.connections == min(most, 2)
    line.proxy.rate = None
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"


@pytest.mark.parametrize("most", [10, 1])
def test_ping_beside_a_download(line: Line, code: Path, most: int) -> None:
    link = line.link(most)
    sent = Sent(code, 'cp weights.bin "$ORCH_OUTPUT_DIR/"')
    sent.send(link)
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
    (listed,) = [file for file in link.outputs(sent.job)["files"] if file["path"] == "weights.bin"]
    line.proxy.delay, line.proxy.rate = DELAY, SLOW
    got = bytearray()

    def download() -> None:
        for piece in link.read_files(sent.job, [(listed["root"], listed["path"], 0)]):
            got.extend(piece.data)

    downloading = threading.Thread(target=download, daemon=True)
    downloading.start()
    worst = worst_ping(link, downloading)
    assert worst < PING_LIMIT
    assert hashlib.sha256(got).hexdigest() == listed["sha256"]


def test_one_channel_carries_everything(line: Line, code: Path) -> None:
    link = line.link(most=1)
    assert link.bulk() is link.rpc
    sent = Sent(code, "ls")
    sent.send(link)
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"


def test_cut_in_the_middle_of_an_upload(line: Line, code: Path) -> None:
    link = line.link()
    sent = Sent(code, "ls -l")
    line.proxy.cut_after(1_000_000)
    with pytest.raises(UnreachableError):
        sent.send(link)
    again = line.link()
    assert sent.send(again)["acknowledged"]
    assert wait_final(again, sent.job)["state"] == "SUCCEEDED"


@pytest.mark.parametrize("after", [100, 4_000, 6_000, 20_000])
def test_cut_while_the_agent_is_brought_up(line: Line, after: int) -> None:
    line.proxy.cut_after(after)
    with pytest.raises((UnreachableError, AgentError)):
        line.link()
    assert line.link().status()["jobs"] == []


def test_silent_line_is_noticed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AgentLink, "ping_interval", 0.2)
    link = line.link()
    run = link.exec(["sleep", "8"])
    line.proxy.stalled = True
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="has not answered"):
        list(run)
    assert time.monotonic() - began < 3
    assert not link.is_alive()
    line.proxy.stalled = False


def test_follow_over_twenty_cuts_loses_and_doubles_nothing(line: Line, code: Path) -> None:
    link = line.link()
    sent = Sent(code, "for i in $(seq 3000); do echo line $i of the log; sleep 0.001; done")
    sent.send(link)
    seen = b""
    cuts = 0
    while True:
        try:
            for piece in link.follow(sent.job, attempt=1, offset=len(seen)):
                if piece.data:
                    assert piece.offset == len(seen)
                    seen += piece.data
                if cuts < 20 and len(seen) > cuts * 2000:
                    cuts += 1
                    line.proxy.cut_after(700)
            break
        except UnreachableError:
            link = line.link(expect_agent=payload().digest)
    assert cuts == 20
    lines = [text for text in seen.splitlines() if text.startswith(b"line ")]
    assert lines == [b"line %d of the log" % n for n in range(1, 3001)]


def test_agent_ends_when_the_line_is_gone(line: Line) -> None:
    link = line.link()
    pid = link.hello["pid"]
    line.proxy.cut()
    status = Path(f"/proc/{pid}/status")
    wait_until(lambda: not status.exists() or "\nState:\tZ" in status.read_text(), what="serve ended")
