"""Frames: what passes between controller and agent. Pure, imported by both ends (Python 3.8 to 3.14).

One frame = fixed prefix (magic, version, two lengths) + JSON header + raw body. The header's key "t" says what it is:

====== ======================== ===============================================================
t      other header keys        meaning
====== ======================== ===============================================================
req    id, method, args         controller asks; the body is the method's input, if any
ok     id, result               the reply; ends a stream too
err    id, error                the reply when it failed: {code, message, hint}
data   id, …                    one piece of a stream, either way
end    id                       the sender of an upload has no more pieces
credit id, received             the receiver of a stream has taken so many body bytes in all
stop   id                       the controller wants no more of this stream
event  name, …                  unasked news from the agent
log    level, text              a log record of the agent
====== ======================== ===============================================================
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, NamedTuple

PROTOCOL_VERSION = 1
GENERATION = 2
"""Raised whenever a keeper learns something: serve replaces a keeper of an older generation, never one of a newer."""
MAGIC = b"oR"
MAX_HEADER = 4 * 1024 * 1024
MAX_BODY = 64 * 1024 * 1024
CHUNK = 64 * 1024
"""Largest body of one `data` frame, in bytes; small enough that a ping slips between two of them."""

START_MARKER = b"\x00ORCH1 "
"""The agent's first bytes on stdout, followed by `ready`, `need` or `fail` and a newline. All before it is noise."""

_PREFIX = struct.Struct(">2sBxII")

Header = Dict[str, Any]


class ProtocolError(Exception):
    """The bytes are not frames of this protocol."""


class Frame(NamedTuple):
    """One message: a JSON object and raw bytes."""

    header: Header
    body: bytes = b""


def encode(header: Header, body: bytes = b"") -> bytes:
    """Return the bytes of one frame.

    Args:
        header: a JSON object; strings may hold surrogate escapes (undecodable file names).
        body: raw bytes, at most MAX_BODY.

    Raises:
        ProtocolError: header or body is over its cap.
    """
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    if len(text) > MAX_HEADER or len(body) > MAX_BODY:
        raise ProtocolError("frame too large: header {} bytes, body {} bytes".format(len(text), len(body)))
    return b"".join((_PREFIX.pack(MAGIC, PROTOCOL_VERSION, len(text), len(body)), text, body))


class Decoder:
    """Turns a byte stream, cut anywhere, back into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """Take more bytes and return the frames they complete.

        Raises:
            ProtocolError: wrong magic or version, a length over its cap, or a header that is not a JSON object.
        """
        self._buffer += data
        frames: List[Frame] = []
        at = 0
        while len(self._buffer) - at >= _PREFIX.size:
            magic, version, header_size, body_size = _PREFIX.unpack_from(self._buffer, at)
            _check_prefix(magic, version, header_size, body_size)
            stop = at + _PREFIX.size + header_size + body_size
            if len(self._buffer) < stop:
                break
            start = at + _PREFIX.size
            header = _parse_header(bytes(self._buffer[start : start + header_size]))
            frames.append(Frame(header, bytes(self._buffer[start + header_size : stop])))
            at = stop
        del self._buffer[:at]
        return frames

    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not complete yet."""
        return len(self._buffer)


def _check_prefix(magic: bytes, version: int, header_size: int, body_size: int) -> None:
    if magic != MAGIC:
        raise ProtocolError("not a frame: {!r}".format(magic))
    if version != PROTOCOL_VERSION:
        raise ProtocolError("frame version {} instead of {}".format(version, PROTOCOL_VERSION))
    if header_size > MAX_HEADER or body_size > MAX_BODY:
        raise ProtocolError("frame too large: header {} bytes, body {} bytes".format(header_size, body_size))


def _parse_header(text: bytes) -> Header:
    try:
        header = json.loads(text.decode("ascii"))
    except ValueError as error:
        raise ProtocolError("header is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise ProtocolError("header is not an object with a type")
    return header
