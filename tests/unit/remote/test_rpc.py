"""The controller's end of a channel, against a peer that speaks exactly what a test wants."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from orchestrator.errors import AgentError, OrchError, UnreachableError
from orchestrator.remote.rpc import Rpc
from orchestrator.remote.streaming import MAX_WAITING
from remote_payload.agent.wire.flow import MIN_WINDOW
from remote_payload.agent.wire.protocol import CHUNK, MAX_BODY, Frame
from tests.harness.peer import Peer
from tests.harness.waiting import wait_until


@pytest.fixture
def peer() -> Iterator[Peer]:
    before = set(threading.enumerate())
    with Peer() as made:
        yield made
    wait_until(lambda: not [one for one in threading.enumerate() if one not in before], 2, "threads ended")


class Running:
    """A call in a thread of its own, with what came of it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.value: object = None
        self.error: OrchError | None = None
        self.thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self.thread.start()

    def _run(self, work: Callable[[], object]) -> None:
        try:
            self.value = work()
        except OrchError as error:
            self.error = error

    def join(self) -> Running:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self


def test_reply_reaches_the_call_that_asked(peer: Peer) -> None:
    first = peer.rpc.start("one", b"body", x=1)
    second = peer.rpc.start("two")
    a, b = peer.take(), peer.take()
    assert (a.header["method"], a.header["args"], a.body) == ("one", {"x": 1}, b"body")
    peer.give(t="ok", id=b.header["id"], result={"n": 2})
    peer.give(b"raw", t="ok", id=a.header["id"], result={"n": 1})
    assert second.result(5).result == {"n": 2}
    assert first.result(5) == ({"n": 1}, b"raw")


def test_agents_error_is_typed_and_harmless(peer: Peer) -> None:
    pending = peer.rpc.start("x")
    number = peer.take().header["id"]
    error = {"code": "not_found", "message": "no \x1b[31mjob\x07", "hint": "look\x1b]0;title\x07 again"}
    peer.give(t="err", id=number, error=error)
    with pytest.raises(AgentError) as caught:
        pending.result(5)
    assert caught.value.code == "not_found"
    assert caught.value.message == "gpu1: no job"
    assert caught.value.hint == "look again"
    assert caught.value.host == "gpu1"


@pytest.mark.parametrize("error", [None, "text", {}, {"message": 5}])
def test_odd_error_is_still_an_error(peer: Peer, error: object) -> None:
    pending = peer.rpc.start("x")
    peer.give(t="err", id=peer.take().header["id"], error=error)
    with pytest.raises(AgentError):
        pending.result(5)


def test_no_reply_in_time(peer: Peer) -> None:
    with pytest.raises(UnreachableError, match=r"did not answer 'slow' within 0\.05 s"):
        peer.rpc.call("slow", timeout=0.05)


def test_stream_yields_frames_then_the_result(peer: Peer) -> None:
    stream = peer.rpc.stream("follow", job="j")
    number = peer.take().header["id"]
    peer.give(b"ab", t="data", id=number, offset=0)
    peer.give(b"c", t="data", id=number, offset=2)
    peer.give(t="ok", id=number, result={"count": 2})
    assert [(frame.header["offset"], frame.body) for frame in stream] == [(0, b"ab"), (2, b"c")]
    assert stream.result == {"count": 2}


def test_credit_is_told_as_the_consumer_takes(peer: Peer) -> None:
    stream = peer.rpc.stream("read")
    number = peer.take().header["id"]
    for _ in range(4):
        peer.give(b"x" * 10_000, t="data", id=number)
    wait_until(lambda: stream._waiting > 40_000, what="four frames have come")
    assert len(next(stream).body) == 10_000
    assert len(next(stream).body) == 10_000
    assert peer.take() == Frame({"t": "credit", "id": number, "received": 20_000})
    next(stream)
    next(stream)
    assert peer.take().header["received"] == 40_000
    stream.stop()
    assert peer.take().header == {"t": "stop", "id": number}


def test_frames_after_stop_are_dropped(peer: Peer) -> None:
    with peer.rpc.stream("follow") as stream:
        number = peer.take().header["id"]
        peer.give(b"x", t="data", id=number)
        next(stream)
    assert [peer.take().header["t"] for _ in range(2)] == ["credit", "stop"]
    peer.give(b"late", t="data", id=number)
    peer.give(t="ok", id=number, result={})
    assert list(stream) == []
    pending = peer.rpc.start("ping")
    peer.give(t="ok", id=peer.take().header["id"], result={})
    assert pending.result(5).result == {}


def test_stop_wakes_a_waiting_consumer(peer: Peer) -> None:
    stream = peer.rpc.stream("follow")
    run = Running(lambda: list(stream))
    peer.take()
    stream.stop()
    assert run.join().value == []


def test_stream_that_nobody_reads_blocks_nobody(peer: Peer) -> None:
    peer.rpc.stream("follow")
    number = peer.take().header["id"]
    for _ in range(MAX_WAITING // CHUNK // 2):
        peer.give(b"x" * CHUNK, t="data", id=number)
    pending = peer.rpc.start("ping")
    peer.give(t="ok", id=peer.take().header["id"], result={})
    assert pending.result(5).result == {}


def test_flood_ends_the_stream_only(peer: Peer) -> None:
    stream = peer.rpc.stream("follow")
    number = peer.take().header["id"]
    body = b"x" * (MAX_WAITING // 2)
    for _ in range(3):
        peer.give(body, t="data", id=number)
    pending = peer.rpc.start("ping")
    peer.give(t="ok", id=peer.take().header["id"], result={})
    assert pending.result(5).result == {}
    with pytest.raises(AgentError, match="more than was asked"):
        list(stream)


def test_upload_keeps_to_the_window(peer: Peer) -> None:
    chunks = [b"a" * 100_000, b"b" * 100_000]
    told: list[int] = []
    run = Running(lambda: peer.rpc.upload("put", {"size": 200_000}, chunks, told.append))
    number = peer.take().header["id"]
    got = b""
    while len(got) < MIN_WINDOW:
        got += peer.take().body
    assert len(got) == MIN_WINDOW
    peer.far.settimeout(0.1)
    with pytest.raises(TimeoutError):
        peer.take()
    peer.far.settimeout(10)
    while True:
        peer.give(t="credit", id=number, received=len(got))
        frame = peer.take()
        if frame.header["t"] == "end":
            break
        assert len(frame.body) <= CHUNK
        got += frame.body
    peer.give(t="ok", id=number, result={"stored": 2})
    reply = run.join().value
    assert reply == ({"stored": 2}, b"")
    assert got == b"".join(chunks)
    assert told == sorted(told)
    assert told[-1] == 200_000


def test_upload_refused_midway(peer: Peer) -> None:
    run = Running(lambda: peer.rpc.upload("put", {}, [b"a" * 1_000_000]))
    number = peer.take().header["id"]
    peer.give(t="err", id=number, error={"code": "disk_full", "message": "the disk is full", "hint": ""})
    error = run.join().error
    assert isinstance(error, AgentError)
    assert error.code == "disk_full"


def test_upload_whose_source_breaks_is_withdrawn(peer: Peer) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"a"
        raise AgentError("the file changed")

    with pytest.raises(AgentError, match="the file changed"):
        peer.rpc.upload("put", {}, chunks())
    assert [peer.take().header["t"] for _ in range(3)] == ["req", "data", "stop"]


@pytest.mark.parametrize("how", ["eof", "close"])
def test_end_of_the_line_reaches_everybody(peer: Peer, how: str) -> None:
    stream = peer.rpc.stream("follow")
    runs = [
        Running(lambda: peer.rpc.call("slow")),
        Running(lambda: list(stream)),
        Running(lambda: peer.rpc.upload("put", {}, [b"a" * 1_000_000])),
    ]
    for _ in range(3):
        while peer.take().header["t"] != "req":
            pass
    if how == "eof":
        peer.far.close()
    else:
        peer.rpc.close()
    errors = [run.join().error for run in runs]
    assert all(isinstance(error, UnreachableError) for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert not peer.rpc.is_alive()
    with pytest.raises(UnreachableError):
        peer.rpc.start("more")
    assert wait_until(lambda: peer.stream.closed)


def test_last_words_are_shown(peer: Peer) -> None:
    peer.stream.errors = b"Traceback\nMemory\x1b[0mError\n"
    pending = peer.rpc.start("x")
    peer.far.close()
    with pytest.raises(UnreachableError, match="last words: MemoryError"):
        pending.result(5)


def test_what_came_before_a_lost_line_is_still_read(peer: Peer) -> None:
    stream = peer.rpc.stream("follow")
    number = peer.take().header["id"]
    peer.give(b"all", t="data", id=number)
    peer.far.close()
    assert next(stream).body == b"all"
    with pytest.raises(UnreachableError):
        next(stream)


def test_bytes_that_are_no_frames(peer: Peer) -> None:
    pending = peer.rpc.start("x")
    peer.far.sendall(b"Connection reset by administrator")
    with pytest.raises(AgentError, match="cannot read"):
        pending.result(5)


def test_ping_measures_and_is_repeated() -> None:
    with Peer(ping_interval=0.05) as peer:
        for _ in range(3):
            frame = peer.take()
            assert frame.header["method"] == "ping"
            peer.give(t="ok", id=frame.header["id"], result={"time": 1.0})
        assert 0 < (wait_until(lambda: peer.rpc.rtt) or 9) < 1


def test_silence_is_unreachable() -> None:
    with Peer(ping_interval=0.05) as peer:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="has not answered for"):
            peer.rpc.call("slow")
        assert time.monotonic() - began < 2


def test_silence_is_noticed_even_when_writing_hangs() -> None:
    with Peer(ping_interval=0.05) as peer:
        run = Running(lambda: peer.rpc.call("big", b"x" * (16 * 1024 * 1024)))
        assert isinstance(run.join().error, UnreachableError)


def test_any_frame_is_a_sign_of_life() -> None:
    with Peer(ping_interval=0.05) as peer:
        pending = peer.rpc.start("slow")
        number = peer.take().header["id"]
        tick = threading.Event()
        for _ in range(20):
            peer.give(t="log", level="debug", text="still there")
            tick.wait(0.025)
        peer.give(t="ok", id=number, result={})
        assert pending.result(5).result == {}


def test_agents_log_goes_to_logging(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "orch.agent"):
        peer.give(t="log", level="warning", text="disk \x1b[5mlow")
        wait_until(lambda: caplog.records)
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].getMessage() == "gpu1: disk low"


def test_events_are_handed_on() -> None:
    seen: list[Frame] = []
    with Peer() as peer:
        peer.rpc._on_event = seen.append
        peer.give(t="event", name="gpus", table={})
        assert wait_until(lambda: seen)[0].header["name"] == "gpus"


def test_too_large_a_request_is_refused_here(peer: Peer) -> None:
    with pytest.raises(AgentError, match="too large"):
        peer.rpc.start("big", b"x" * (MAX_BODY + 1))
    assert isinstance(peer.rpc, Rpc)


def test_ten_threads_at_once(peer: Peer) -> None:
    def answer() -> None:
        for _ in range(200):
            frame = peer.take()
            peer.give(t="ok", id=frame.header["id"], result=frame.header["args"])

    answering = Running(answer)
    runs = [Running(lambda n=n: [peer.rpc.call("echo", n=n).result["n"] for _ in range(20)]) for n in range(10)]  # type: ignore[misc]
    answering.join()
    assert [run.join().value for run in runs] == [[n] * 20 for n in range(10)]
