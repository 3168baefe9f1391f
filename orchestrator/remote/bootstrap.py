"""From a fresh channel to a running agent: one command line that any login shell takes, and the first exchange."""

from __future__ import annotations

import base64
import functools
import logging
import re
import threading
import zlib
from pathlib import Path
from typing import NamedTuple

import remote_payload
from orchestrator.errors import AgentError, UnreachableError, UsageError
from orchestrator.remote.payload import Payload
from orchestrator.remote.streams import ByteStream
from orchestrator.text import neutralise
from remote_payload.agent.wire.protocol import START_MARKER

PAYLOAD_MAGIC = b"\x00ORCH-PAYLOAD-1\x00"
NO_PYTHON = b"ORCH1-NO-PYTHON"
MARKER_TIMEOUT = 10.0
"""Seconds a host has to show the start marker."""
INSTALL_TIMEOUT = 300.0
"""Seconds the agent's upload (100 KB) and installation may take."""
NOISE_SHOWN = 200
_NOISE_KEPT = 64 * 1024

log = logging.getLogger("orch.bootstrap")

LOADER = (
    "import sys,zlib,binascii;sys.version_info<(3,8)and sys.exit(66);"
    "exec(zlib.decompress(binascii.a2b_base64(sys.argv[1])))"
)
_PLACES = " ".join(
    [
        "python3 python /root/miniconda3/bin/python3 /root/miniconda3/bin/python $HOME/miniconda3/bin/python3",
        "$HOME/anaconda3/bin/python3 $HOME/miniforge3/bin/python3 /opt/conda/bin/python3 /opt/miniconda3/bin/python3",
        "/usr/local/bin/python3 /usr/bin/python3",
        *(f"python3.{minor}" for minor in range(14, 7, -1)),
    ]
)
# Nothing is quoted: an empty IFS and `set -f` keep $c whole. t tries one Python; s lists those seen, o those too old.
# The login shell only prints its PATH (`env` means the same in every shell); a banner around it does no harm.
SCRIPT = " ".join(
    [
        "IFS=; set -f; c=$1 z=$2 h=$3 n=$4 r=$5 y=$6 s=, o=;",
        "t() {",
        "q=$(command -v $1 2>/dev/null) || return 0;",
        "case $q in /*) ;; *) return 0;; esac;",
        "case $s in *,$q,*) return 0;; esac;",
        "s=$s$q,;",
        "$q -I -S -c $c $z $h $n $r; e=$?;",
        "case $e in",
        "126|127) ;;",
        "66|2) v=$($q -V 2>&1 </dev/null); o=$o,$q:${v#* };;",
        "*) exit $e;;",
        "esac; };",
        "case $y in [~]/*) y=$HOME/${y#??};; esac;",
        f"for p in $y {_PLACES}; do t $p; done;",
        "for f in -lc -c; do",
        "x=$(${SHELL:-sh} $f env </dev/null 2>/dev/null | grep ^PATH= | tail -n 1);",
        "for p in python3 python; do t $(PATH=$PATH:${x#PATH=}; command -v $p); done;",
        "done;",
        "echo ORCH1-NO-PYTHON ${o#,}",
    ]
)
_UNSAFE = re.compile(r"""['"\\!\n\r\0]""")


class Greeting(NamedTuple):
    """How the first exchange ended.

    Attributes:
        installed: the agent was sent; False when the host had it.
        noise: what came before the marker (banners, rc output).
        leftover: bytes behind the marker line: the first frames.
    """

    installed: bool
    noise: bytes
    leftover: bytes


@functools.cache
def _stage1() -> str:
    source = (Path(remote_payload.__file__).parent / "agent/stage1.py").read_bytes().replace(b"\r\n", b"\n")
    return base64.b64encode(zlib.compress(source, 9)).decode("ascii")


def command(profile_python: str | None, agent_hash: str, size: int, role: str) -> str:
    """Return the line that starts the agent in any login shell (bash, dash, zsh, fish, tcsh).

    Args:
        profile_python: a Python to try first: a name, an absolute path or one that begins with `~/`; None for none.
        agent_hash: digest of the agent to run.
        size: bytes of the payload on the wire.
        role: `serve` or `serve-bulk`.

    Raises:
        UsageError: the Python's path holds a quote, backslash, `!` or newline.
    """
    hint = profile_python or ""
    if _UNSAFE.search(hint):
        raise UsageError(
            f"the Python path {hint!r} cannot be used", "It may not hold quotes, backslashes, ! or newlines."
        )
    words = [LOADER, _stage1(), agent_hash, str(size), role, hint]
    return f"exec sh -c '{SCRIPT}' orch " + " ".join(f"'{word}'" for word in words)


class _Reader:
    """Reads lines and bytes from a stream that is closed when the time is over."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._late = threading.Event()
        self.data = bytearray()

    def fill(self) -> bool:
        """Take more bytes; False at the end of the stream."""
        got = self._stream.recv(64 * 1024)
        self.data += got
        return bool(got)

    def timer(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer

    def _expire(self) -> None:
        self._late.set()
        self._stream.close()

    @property
    def late(self) -> bool:
        return self._late.is_set()


def handshake(
    stream: ByteStream,
    agent: Payload,
    requests: bytes,
    *,
    host: str = "",
    expect: bool = False,
    timeout: float = MARKER_TIMEOUT,
) -> Greeting:
    """Bring up the agent on a stream that runs `command(…)`; afterwards frames pass, answers to `requests` first.

    Args:
        stream: the channel; closed by this call when the host does not answer in time.
        agent: sent when the host does not have it.
        requests: encoded frames to be asked first.
        host: name for messages.
        expect: the host is known to have this agent, so `requests` leave at once and cost no round trip.
        timeout: seconds until the start marker must have come.

    Raises:
        AgentError: no usable Python, no marker, or the agent could not be installed.
        UnreachableError: the connection was lost.
    """
    reader = _Reader(stream)
    timer = reader.timer(timeout)
    try:
        if expect:
            stream.send(requests)
        noise, word = _marker(reader, stream, host)
        if word == "need":
            _end(timer)
            timer = reader.timer(INSTALL_TIMEOUT)
            stream.send(PAYLOAD_MAGIC + agent.wire)
            stream.send(requests)
            _, again = _marker(reader, stream, host)
            _expect_ready(again, host)
        else:
            _expect_ready(word, host)
            if not expect:
                stream.send(requests)
    finally:
        _end(timer)
    if reader.late:
        raise _silent(reader, stream, host)
    return Greeting(word == "need", noise, bytes(reader.data))


def _end(timer: threading.Timer) -> None:
    timer.cancel()
    timer.join(1.0)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _marker(reader: _Reader, stream: ByteStream, host: str) -> tuple[bytes, str]:
    """Return what stood before the marker, and the word and sentence behind it."""
    while True:
        at = reader.data.find(START_MARKER)
        if at >= 0:
            stop = reader.data.find(b"\n", at)
            if stop >= 0:
                noise = bytes(reader.data[:at])
                word = reader.data[at + len(START_MARKER) : stop].decode("utf-8", "replace")
                del reader.data[: stop + 1]
                if noise:
                    log.debug("%s: before the agent: %s", host, neutralise(_text(noise)))
                return noise, word
        elif len(reader.data) > _NOISE_KEPT:
            # Endless noise is not kept; the beginning is what people need to see.
            del reader.data[NOISE_SHOWN : -len(START_MARKER)]
        if not reader.fill():
            raise _silent(reader, stream, host)


def _expect_ready(word: str, host: str) -> None:
    if word == "ready":
        return
    sentence = neutralise(word.removeprefix("fail ")) or "no reason given"
    raise AgentError(
        f"{host}: {sentence}", "Is the home folder writable, and is there room on its disk?", host=host, code="install"
    )


def _silent(reader: _Reader, stream: ByteStream, host: str) -> AgentError | UnreachableError:
    """Make the error for a host that never showed the marker."""
    noise = bytes(reader.data)
    at = noise.find(NO_PYTHON)
    if at >= 0 and b"\n" in noise[at:]:
        return _no_python(noise[at + len(NO_PYTHON) : noise.index(b"\n", at)].strip(), host)
    shown = noise.strip() or stream.stderr_tail().strip()
    if not shown and not reader.late:
        return UnreachableError(f"{host} closed the connection before the agent started", "Try again.", host=host)
    text = neutralise(_text(shown[:NOISE_SHOWN])).strip()
    said = f"; it said: {text}" if text else ""
    when = "in time" if reader.late else "and ended the session"
    return AgentError(
        f"{host} did not start the agent {when}{said}",
        "Does `ssh HOST true` run a command there without a menu, a forced command or a question?",
        host=host,
        code="no_marker",
    )


def _no_python(listed: bytes, host: str) -> AgentError:
    old = [part.rpartition(":") for part in neutralise(_text(listed[:1000])).split(",") if part]
    hint = "Install Python 3.8 or newer there, or name one: orch host add … --python /path/to/python3."
    if not old:
        return AgentError(f"{host} has no Python that orch can find", hint, host=host, code="no_python")
    seen = ", ".join(f"{path} is {version}" for path, _, version in old)
    return AgentError(f"{host} has no Python new enough: {seen}; 3.8 is needed", hint, host=host, code="no_python")
