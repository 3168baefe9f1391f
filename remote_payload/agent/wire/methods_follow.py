"""Methods that show logs: as they grow, or a part of what there is."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Callable, List, Mapping, Optional, Tuple

from remote_payload.agent.spool import atomic, states
from remote_payload.agent.spool.fold import JobFacts, cancel_stands, fold, is_final
from remote_payload.agent.spool.paths import AttemptPaths, JobPaths, SpoolPaths
from remote_payload.agent.spool.submissions import load_facts
from remote_payload.agent.spool.views import attempt_view
from remote_payload.agent.wire.context import Context
from remote_payload.agent.wire.messages import AttemptView, JobSpec
from remote_payload.agent.wire.session import Answer, Call

POLL_SECONDS = 0.04
STATE_POLLS = 5
"""The job's state is looked at in every so many polls of its log."""
DEFAULT_PART = 4 * 1024 * 1024
LARGEST_PART = 32 * 1024 * 1024
_STEP = 64 * 1024


def follow(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Stream a log as it grows, attempt after attempt, until the job is final and every byte was sent."""
    spec = context.find(args["job"])
    follower = _Follower(context, call, spec)
    if args["which"] == "setup":
        return follower.setup(args["offset"])
    return follower.attempts(args["attempt"], args["offset"])


def read_log(context: Context, call: Call, args: Mapping[str, Any]) -> Answer:
    """Return a part of a log as it is now: its last lines, or what stands at an offset."""
    del call
    spec = context.find(args["job"])
    place = context.paths.job(spec["id"])
    number = _number(place, args["attempt"])
    log = (
        _setup_log(context.paths, place) if args["which"] == "setup" else place.attempt(number).log if number else None
    )
    most = min(args["max_bytes"] or DEFAULT_PART, LARGEST_PART)
    descriptor = open_log(log)
    if descriptor is None:
        return Answer({"attempt": number, "offset": 0, "size": 0})
    try:
        size = os.fstat(descriptor).st_size
        if args["offset"] is not None:
            begin = min(args["offset"], size)
        elif args["tail_lines"] is not None:
            begin = _tail_begin(descriptor, size, args["tail_lines"], most)
        else:
            begin = max(0, size - most)
        data = _read(descriptor, begin, min(most, size - begin))
    finally:
        os.close(descriptor)
    return Answer({"attempt": number, "offset": begin, "size": size}, data)


class _Follower:
    def __init__(self, context: Context, call: Call, spec: JobSpec) -> None:
        self._paths = context.paths
        self._tend = context.tend
        self._call = call
        self._spec = spec
        self._place = context.paths.job(spec["id"])

    def attempts(self, number: int, offset: int) -> Answer:
        number = number or _number(self._place, 0) or 1
        while True:
            if not self._begun(number):
                return Answer({"attempt": number - 1, "offset": offset if number == 1 else 0})
            place = self._place.attempt(number)
            offset = self._pour(number, place.log, offset, partial(os.path.exists, place.end))
            self._call.send(attempt=number, end=True, view=self._view(place))
            if is_final(self._state()) and _number(self._place, 0) <= number:
                return Answer({"attempt": number, "offset": offset})
            number, offset = number + 1, 0

    def setup(self, offset: int) -> Answer:
        """Stream the log of the setup that makes this job's environment."""
        while True:
            state = self._state()
            log = _setup_log(self._paths, self._place)
            if log is not None:
                offset = self._pour(0, log, offset, self._is_set_up)
                return Answer({"attempt": 0, "offset": offset})
            if state != states.PENDING or self._spec["setup"] is None:
                return Answer({"attempt": 0, "offset": offset})
            self._tend()
            self._call.pause(POLL_SECONDS * STATE_POLLS)

    def _begun(self, number: int) -> bool:
        """Wait for an attempt; False when the job ended without it."""
        folder = self._place.attempt(number).folder
        while not os.path.isdir(folder):
            if is_final(self._state()) and not os.path.isdir(folder):
                return False
            self._tend()
            self._call.pause(POLL_SECONDS)
        return True

    def _pour(self, number: int, log: str, offset: int, ended: Callable[[], bool]) -> int:
        """Send a log from an offset until it is complete; return its end."""
        descriptor: Optional[int] = None
        try:
            while True:
                # First whether it ended, then what there is: what was written before the end is never missed.
                over = ended()
                if descriptor is None:
                    descriptor = open_log(log)
                if descriptor is not None:
                    offset = self._send_new(number, descriptor, offset)
                if over:
                    return offset
                self._tend()
                self._call.pause(POLL_SECONDS)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _send_new(self, number: int, descriptor: int, offset: int) -> int:
        while os.fstat(descriptor).st_size > offset:
            data = os.pread(descriptor, self._call.room(), offset)
            if not data:
                break
            self._call.send(data, attempt=number, offset=offset)
            offset += len(data)
        return offset

    def _facts(self) -> JobFacts:
        return load_facts(self._paths, self._spec, log_sizes=True)

    def _state(self) -> str:
        return fold(self._facts(), 0.0).state

    def _view(self, place: AttemptPaths) -> Optional[AttemptView]:
        facts = self._facts()
        cancelled = cancel_stands(facts.cancel, facts.retries)
        views = [attempt_view(each, cancelled) for each in facts.attempts if each.number == place.number]
        return views[0] if views else None

    def _is_set_up(self) -> bool:
        return self._state() != states.PENDING or _finished_env(self._paths, self._place)


def _number(place: JobPaths, asked: int) -> int:
    """Return the attempt that is meant: the one asked for, else the newest, else 0."""
    numbers = place.attempt_numbers()
    return asked or (numbers[-1] if numbers else 0)


def _env_digest(place: JobPaths) -> Optional[str]:
    digest = (atomic.read_json(place.env) or {}).get("digest")
    return digest if isinstance(digest, str) else None


def _setup_log(paths: SpoolPaths, place: JobPaths) -> Optional[str]:
    digest = _env_digest(place)
    return None if digest is None else paths.env(digest).log


def _finished_env(paths: SpoolPaths, place: JobPaths) -> bool:
    digest = _env_digest(place)
    if digest is None:
        return False
    env = paths.env(digest)
    return os.path.exists(env.ready) or os.path.exists(env.failed)


def open_log(path: Optional[str]) -> Optional[int]:
    """Return a descriptor of a log for reading, None when there is none."""
    if path is None:
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _read(descriptor: int, offset: int, size: int) -> bytes:
    pieces: List[bytes] = []
    while size > 0:
        data = os.pread(descriptor, min(size, 1024 * 1024), offset)
        if not data:
            break
        pieces.append(data)
        offset += len(data)
        size -= len(data)
    return b"".join(pieces)


def _tail_begin(descriptor: int, size: int, lines: int, most: int) -> int:
    """Return where the last lines begin; a newline at the very end closes the last of them."""
    if lines == 0:
        return size
    wanted = lines
    if size and os.pread(descriptor, 1, size - 1) == b"\n":
        wanted += 1
    end = size
    least = max(0, size - most)
    while end > least:
        begin = max(least, end - _STEP)
        block = _read(descriptor, begin, end - begin)
        found = _nth_from_end(block, wanted)
        if found[0] >= 0:
            return begin + found[0] + 1
        wanted -= found[1]
        end = begin
    return least


def _nth_from_end(block: bytes, wanted: int) -> Tuple[int, int]:
    """Return (where the wanted newline counted from the end is, or -1; how many newlines were passed)."""
    at = len(block)
    for count in range(wanted):
        at = block.rfind(b"\n", 0, at)
        if at < 0:
            return -1, count
    return at, wanted
