"""The agent as one archive: the same bytes for the same files on every computer, named by their digest."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import remote_payload

MAIN = b"import sys\n\nfrom remote_payload.agent.main import main\n\nsys.exit(main(sys.argv[1:]))\n"
"""`__main__.py` at the archive's root, so that the unpacked folder can be run by its path."""

SUFFIXES = frozenset({".py", ".sh"})
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o600 << 16
_UNIX = 3


class Payload(NamedTuple):
    """What is sent to a host that does not have this agent.

    Attributes:
        digest: SHA-256 (hex) of the archive; the agent's version.
        wire: the archive under zlib. Only the archive is hashed: zlib's output differs between builds of zlib.
    """

    digest: str
    wire: bytes


@functools.cache
def payload() -> Payload:
    """Return the installed agent's archive; built once per process (about 20 ms)."""
    return pack(Path(remote_payload.__file__).parent)


def pack(package: Path) -> Payload:
    """Archive the agent found in a `remote_payload` package folder.

    Args:
        package: the folder that holds `agent/`.
    """
    files = {"__main__.py": MAIN, "remote_payload/__init__.py": _text(package / "__init__.py")}
    for path in (package / "agent").rglob("*"):
        relative = path.relative_to(package)
        if path.suffix in SUFFIXES and "__pycache__" not in relative.parts and path.is_file():
            files["remote_payload/" + relative.as_posix()] = _text(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            archive.writestr(_member(name), files[name])
    data = buffer.getvalue()
    # Level 9 would cost every command 20 ms to save the first one 2 KB.
    return Payload(hashlib.sha256(data).hexdigest(), zlib.compress(data, 5))


def _text(path: Path) -> bytes:
    # A checkout on Windows may have CRLF, which sh does not survive.
    return path.read_bytes().replace(b"\r\n", b"\n")


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = _UNIX
    info.external_attr = _MODE
    return info
