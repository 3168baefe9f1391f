"""First code on a host: sent as text on the command line, it installs the agent when that is missing and becomes it.

Self-contained, standard library only, Python 3.8 to 3.14. argv: digest, bytes on the wire, role.
What it says on stdout is START_MARKER (wire.protocol), then `ready`, `need` or `fail <sentence>`, and a newline.
"""

import os
import sys

MARKER = b"\x00ORCH1 "
MAGIC = b"\x00ORCH-PAYLOAD-1\x00"
STEP = 65536


class Failure(Exception):
    """Cannot go on; the text is a sentence for people."""


def say(word: str) -> None:
    """Write one marker line, all of it."""
    data = MARKER + word.replace("\n", " ").encode("utf-8", "replace") + b"\n"
    while data:
        data = data[os.write(1, data) :]


def take(limit: int) -> bytes:
    """Return at least one byte from stdin and at most `limit`, never more: what follows belongs to the agent."""
    data = os.read(0, min(limit, STEP))
    if not data:
        raise Failure("the upload of the agent broke off")
    return data


def overlap(tail: bytes) -> int:
    """How many bytes at the end of `tail` may be the beginning of MAGIC."""
    for size in range(min(len(MAGIC) - 1, len(tail)), 0, -1):
        if tail.endswith(MAGIC[:size]):
            return size
    return 0


def receive(size: int) -> bytes:
    """Skip requests sent too early, up to MAGIC; return the `size` bytes behind it."""
    seen = b""
    while MAGIC not in seen:
        seen = seen[-len(MAGIC) :]
        seen += take(len(MAGIC) - overlap(seen) + size)
    parts = [seen[seen.index(MAGIC) + len(MAGIC) :]]
    left = size - len(parts[0])
    while left > 0:
        parts.append(take(left))
        left -= len(parts[-1])
    return b"".join(parts)


def flush(folder: str) -> None:
    """Make sources durable: a pyc cut short by a crash is ignored by Python, a source is not."""
    for base, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(".pyc"):
                fd = os.open(os.path.join(base, name), os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)


def unpack(data: bytes, temporary: str, target: str) -> None:
    """Lay out and compile the archive in `temporary`, then give it its name; somebody else may have been faster."""
    import compileall
    import errno
    import io
    import py_compile
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(temporary)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(temporary, ddir=target, quiet=2, invalidation_mode=mode)
    flush(temporary)
    try:
        os.rename(temporary, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not whole(target):
            raise


def whole(target: str) -> bool:
    """Whether an agent is installed there."""
    return os.path.isfile(os.path.join(target, "__main__.py"))


def install(digest: str, size: int, target: str) -> None:
    """Read the archive from stdin, check it, install it."""
    import hashlib
    import shutil
    import tempfile
    import zlib

    wire = receive(size)
    try:
        data = zlib.decompress(wire)
    except zlib.error:
        data = b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise Failure("the agent arrived damaged (wrong digest)")
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(target))
    try:
        if os.path.isdir(target) and not whole(target):
            os.rename(target, os.path.join(temporary, "broken"))
        unpack(data, os.path.join(temporary, "agent"), target)
    finally:
        shutil.rmtree(temporary, True)


def prepare(digest: str, size: int) -> str:
    """Return the folder of the installed agent, having installed it when it was missing."""
    home = os.path.expanduser("~")
    try:
        os.chdir(home)
        target = os.path.join(home, ".orch", "agent", digest, sys.implementation.cache_tag or "any")
        if not whole(target):
            say("need")
            old = os.umask(0o077)
            install(digest, size, target)
            os.umask(old)
    except OSError as error:
        where = error.filename or home
        raise Failure("the agent cannot be installed: {}: {}".format(where, error.strerror)) from error
    return target


def start() -> int:
    """Install if needed, say `ready`, become the agent."""
    try:
        target = prepare(sys.argv[2], int(sys.argv[3]))
    except Failure as failure:
        say("fail " + str(failure))
        return 1
    say("ready")
    sys.path.insert(0, target)
    from remote_payload.agent.main import main

    return main([sys.argv[4]])


if __name__ == "__main__":
    sys.exit(start())
