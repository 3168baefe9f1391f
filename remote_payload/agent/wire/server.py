"""`serve`: answers one controller over two descriptors until it is gone, silent for too long, or says shutdown."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.wire.arguments import checked
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.methods import INLINE, METHODS, STREAM, Method
from remote_payload.agent.wire.outbox import Closed, Outbox
from remote_payload.agent.wire.protocol import Decoder, Frame, ProtocolError, encode
from remote_payload.agent.wire.session import Call

SILENCE_SECONDS = 90.0
"""Without a single frame from the controller for so long, the agent ends."""
WORKERS = 16
MAX_STREAMS = 1024
FINISH_SECONDS = 10.0
"""How long requests under way may go on after the controller is gone."""
_READ = 256 * 1024
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PROTOCOL_BROKEN = 65


def serve(stdin_fd: int, stdout_fd: int, bulk: bool, silence: float = SILENCE_SECONDS) -> int:
    """Answer one controller.

    Args:
        stdin_fd, stdout_fd: carry frames from now on.
        bulk: this is a controller's second channel; it answers the same methods.
        silence: seconds without a frame after which it ends.

    Returns:
        0; 65 when what came was no frame.
    """
    if (stdin_fd, stdout_fd) == (0, 1):
        stdin_fd, stdout_fd = _move_away()
    if threading.current_thread() is threading.main_thread():
        # A dropped line must not end a request half-way: the end of stdin says the same and is dealt with in order.
        # Handled, not ignored: programs started from here get a handled signal back as it was.
        signal.signal(signal.SIGHUP, _nothing)
    return _Server(stdin_fd, stdout_fd, "bulk" if bulk else "main", silence).run()


def _nothing(signum: int, frame: Any) -> None:
    """Takes a signal without dying of it."""


def _move_away() -> Tuple[int, int]:
    """Take frames off descriptors 0 and 1, so that no child process and no stray print can spoil them."""
    moved = (os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return moved


class _Server:
    def __init__(self, stdin_fd: int, stdout_fd: int, name: str, silence: float) -> None:
        self._stdin = stdin_fd
        self._name = name
        self._silence = silence
        self._outbox = Outbox(stdout_fd)
        self._workers = _Workers(WORKERS)
        self._calls: Dict[int, Call] = {}
        self._guard = threading.Lock()
        self._streams = 0
        self._leaving = False
        self._context = Context(self._say, self._leave)

    def run(self) -> int:
        decoder = Decoder()
        code = 0
        heard = time.monotonic()
        while not self._leaving and not self._outbox.closed:
            left = heard + self._silence - time.monotonic()
            if left <= 0:
                break
            ready, _, _ = select.select([self._stdin], [], [], min(left, 1.0))
            if not ready:
                continue
            try:
                data = os.read(self._stdin, _READ)
                frames = decoder.feed(data)
            except ProtocolError as error:
                sys.stderr.write("orch agent: {}\n".format(error))
                code = PROTOCOL_BROKEN
                break
            except OSError:
                break
            if not data:
                break
            for frame in frames:
                heard = time.monotonic()
                self._take(frame)
        self._end()
        return code

    def _end(self) -> None:
        """Streams end now; requests that change something get the time to be done with it."""
        with self._guard:
            streams = [call for call in self._calls.values() if METHODS[call.method].kind == STREAM]
        for call in streams:
            call.stop()
        until = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < until:
            with self._guard:
                if not self._calls:
                    break
            time.sleep(0.01)
        self._outbox.flush(max(0.5, until - time.monotonic()))
        self._outbox.close()

    # -- frames --------------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        kind = frame.header["t"]
        number = frame.header.get("id")
        if type(number) is not int:
            return
        if kind == "req":
            self._request(number, frame)
            return
        with self._guard:
            call = self._calls.get(number)
        if call is None:
            return
        if kind == "credit" and type(frame.header.get("received")) is int:
            call.on_credit(frame.header["received"])
        elif kind == "data":
            call.on_data(frame.body)
        elif kind == "end":
            call.on_end()
        elif kind == "stop":
            call.stop()

    def _request(self, number: int, frame: Frame) -> None:
        name = frame.header.get("method")
        method = METHODS.get(name) if isinstance(name, str) else None
        args = frame.header.get("args", {})
        ordered = method is not None and method.kind == STREAM
        call = Call(number, str(name), args, frame.body, self._outbox, ordered=ordered)
        if method is None:
            call.fail(AgentFault("unknown_method", "this agent has no method {!r}".format(name)[:200]))
            return
        with self._guard:
            taken = number in self._calls
            full = ordered and self._streams >= MAX_STREAMS
            if not taken and not full:
                self._calls[number] = call
                self._streams += ordered
        if taken:
            call.fail(AgentFault("bad_request", "the request id {} is in use".format(number)))
        elif full:
            call.fail(AgentFault("refused", "too many streams at once", "close some"))
        elif method.kind == INLINE:
            self._run(method, call)
        elif ordered:
            threading.Thread(target=self._run, args=(method, call), name="orch-" + call.method, daemon=True).start()
        else:
            self._workers.do(lambda: self._run(method, call))

    def _run(self, method: Method, call: Call) -> None:
        try:
            call.answer(method.run(self._context, call, checked(call.method, method.args, call.args)))
        except Closed:
            pass
        except Exception as error:  # the boundary: a bug or a broken disk is an answer too, not the end of the agent
            with contextlib.suppress(Closed):
                call.fail(self._as_fault(call, error))
        finally:
            with self._guard:
                self._calls.pop(call.number, None)
                self._streams -= method.kind == STREAM

    def _as_fault(self, call: Call, error: Exception) -> AgentFault:
        if isinstance(error, AgentFault):
            return error
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return AgentFault(
                "disk_full",
                "the host's disk is full{}".format(": " + str(error.filename) if error.filename else ""),
                "make room (orch gc), or move the queue to a larger disk",
            )
        self._say("error", traceback.format_exc())
        what = error.__class__.__name__
        return AgentFault("internal", "{!r} failed on the host: {}: {}".format(call.method, what, error)[:500])

    def _say(self, level: str, text: str) -> None:
        self._outbox.send(encode({"t": "log", "level": level, "text": "[{}] {}".format(self._name, text)[:65536]}))

    def _leave(self) -> None:
        self._leaving = True


class _Workers:
    """A few threads for requests that end by themselves; started when first needed.

    Args:
        most: how many run at once; further requests wait their turn.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: "queue.SimpleQueue[Callable[[], None]]" = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._threads = 0
        self._idle = 0

    def do(self, task: Callable[[], None]) -> None:
        """Run a task soon."""
        with self._guard:
            begin = self._idle <= self._tasks.qsize() and self._threads < self._most
            self._threads += begin
        self._tasks.put(task)
        if begin:
            threading.Thread(target=self._work, name="orch-work", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._guard:
                self._idle += 1
            task = self._tasks.get()
            with self._guard:
                self._idle -= 1
            task()
