"""A TCP proxy that makes a line slow, narrow, silent or broken, and counts what passes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from types import TracebackType

_BLOCK = 16 * 1024
_TICK = 0.005


class _Direction:
    """Bytes on their way from one socket to the other; each leaves `delay` after it came, at most `rate` a second."""

    def __init__(self, proxy: Proxy, source: socket.socket, target: socket.socket, up: bool) -> None:
        self.proxy = proxy
        self.source = source
        self.target = target
        self.up = up
        self._line: deque[tuple[float, bytes]] = deque()
        self._changed = threading.Condition()
        self._over = False
        self.threads = [
            threading.Thread(target=run, daemon=True, name=f"proxy-{name}-{'up' if up else 'down'}")
            for name, run in (("take", self._take), ("give", self._give))
        ]

    def _take(self) -> None:
        while not self.proxy.stopping.is_set():
            try:
                ready, _, _ = select.select([self.source], [], [], 0.05)
                data = self.source.recv(_BLOCK) if ready else None
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                data = b""
            if data is None:
                continue
            with self._changed:
                # What is under way is bounded like a real line's buffers, so that a fast sender feels the narrow place.
                while self._queued() > self.proxy.buffer and not self.proxy.stopping.is_set():
                    self._changed.wait(0.05)
                self._line.append((time.monotonic() + self.proxy.delay, data))
                self._changed.notify_all()
            if not data:
                return

    def _queued(self) -> int:
        # Bytes that only wait for their delay do not fill a buffer.
        now = time.monotonic()
        return sum(len(data) for due, data in self._line if due <= now)

    def _give(self) -> None:
        while not self.proxy.stopping.is_set():
            with self._changed:
                if not self._line or self._line[0][0] > time.monotonic() or self.proxy.stalled:
                    self._changed.wait(_TICK)
                    continue
                _, data = self._line.popleft()
                self._changed.notify_all()
            if not data:
                with contextlib.suppress(OSError):
                    self.target.shutdown(socket.SHUT_WR)
                return
            if not self._pass(data):
                return

    def _pass(self, data: bytes) -> bool:
        view = memoryview(data)
        while view and not self.proxy.stopping.is_set():
            piece = view[: self.proxy.quantum()]
            allowed = self.proxy.allowance(len(piece))
            if not self._send(piece[:allowed]):
                return False
            if allowed < len(piece):
                self.proxy.cut()
                return False
            view = view[allowed:]
            if self.proxy.rate:
                self.proxy.stopping.wait(allowed / self.proxy.rate)
        return True

    def _send(self, piece: memoryview) -> bool:
        # Never waits in the kernel, so that a cut or a stop is seen at once.
        while piece:
            if self.proxy.stopping.is_set():
                return False
            try:
                _, ready, _ = select.select([], [self.target], [], 0.05)
                sent = self.proxy.pass_on(self.target, piece, self.up) if ready else 0
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                return False
            piece = piece[sent:]
        return True


class Proxy:
    """Listens on a free loopback port and passes every connection on to a target. A context manager.

    All knobs may be turned while connections are open.

    Args:
        target: (host, port) that is really meant.
        delay: seconds each direction adds (half a round trip).
        rate: bytes a second in each direction; None for no limit.
        buffer: bytes a narrow direction holds before it stops reading.

    Attributes:
        port: where to connect.
        connections: how many were accepted.
        bytes_up, bytes_down: passed towards the target, and back.
        turns: how often the direction of traffic changed; two turns are one round trip.
        stalled: while True nothing passes, and no connection breaks.
    """

    def __init__(
        self, target: tuple[str, int], *, delay: float = 0.0, rate: float | None = None, buffer: int = 64 * 1024
    ) -> None:
        self.target = target
        self.delay = delay
        self.rate = rate
        self.buffer = buffer
        self.stalled = False
        self.refusing = False
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.turns = 0
        self.stopping = threading.Event()
        self._cut_after: int | None = None
        self._last_up: bool | None = None
        self._guard = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True, name="proxy-accept")
        self._acceptor.start()

    def cut(self) -> None:
        """Break every open connection now (reset); new ones are still taken."""
        with self._guard:
            broken, self._open = self._open, []
            self._cut_after = None
        for end in broken:
            with contextlib.suppress(OSError):
                # Linger 0: the peer sees a reset, as from a router that forgot the connection.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            end.close()

    def cut_after(self, count: int) -> None:
        """Break every connection once `count` more bytes have passed, both directions together."""
        with self._guard:
            self._cut_after = count

    def quantum(self) -> int:
        """Largest piece to pass at once: a fiftieth of a second's worth, so that a narrow line is also even."""
        return max(256, min(_BLOCK, int(self.rate / 50))) if self.rate else _BLOCK

    def allowance(self, wanted: int) -> int:
        """How many of `wanted` bytes may pass before the cut that was ordered."""
        with self._guard:
            if self._cut_after is None:
                return wanted
            allowed = min(wanted, self._cut_after)
            self._cut_after -= allowed
            return allowed

    def pass_on(self, target: socket.socket, piece: memoryview, up: bool) -> int:
        """Send what the target takes at once and count it; return how much that was."""
        with self._guard:
            # Counted first: who has received a byte finds it counted.
            self._count(len(piece), up)
            sent = 0
            try:
                sent = target.send(piece)
            finally:
                self._count(sent - len(piece), up)
            return sent

    def _count(self, size: int, up: bool) -> None:
        if up:
            self.bytes_up += size
        else:
            self.bytes_down += size
        self.turns += self._last_up is not None and self._last_up != up
        self._last_up = up

    def reset_counts(self) -> None:
        """Begin counting anew."""
        with self._guard:
            self.connections = self.bytes_up = self.bytes_down = self.turns = 0
            self._last_up = None

    def stop(self) -> None:
        """Close the port and all connections and end every thread."""
        self.stopping.set()
        self._acceptor.join(5)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._join(near)

    def _join(self, near: socket.socket) -> None:
        if self.refusing:
            near.close()
            return
        try:
            far = socket.create_connection(self.target, timeout=5)
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        both = (_Direction(self, near, far, True), _Direction(self, far, near, False))
        with self._guard:
            self.connections += 1
            self._open += [near, far]
        for direction in both:
            for thread in direction.threads:
                self._threads.append(thread)
                thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
