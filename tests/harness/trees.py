"""Code trees as hostile as file systems allow, and what a folder really holds."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
from pathlib import Path

NAMES = (
    b"plain.py", b"with space.txt", b" leading", b"trailing ", b"quote'single", b'quote"double', b"new\nline",
    b"tab\there", b"-rf", b"--help", b"$(touch pwned)", b"`id`", b"*", b"?",
    b"[a]", b"semi;colon", b"a&b", b"pipe|", b"back\\slash",
    b"per%cent%41", b"con.txt", b"NUL", b"dot.", b"...", b"~", b"#hash", b"!bang", b"=eq", b"a:b", b"<in>",
    "é-composed".encode(), "e\u0301-decomposed".encode(), "数据集.csv".encode(), "🙂".encode(), b"bad\xff\xfeutf8",
    b"\xc3", b"ctrl\x01\x1b[31mred", b"\x7fdel", b"x" * 255, "é".encode() * 127,
)  # fmt: skip


def hostile(root: Path, count: int) -> None:
    """Fill a folder with `count` files under hostile names, links, empty folders, executables; seeded, so always alike.

    Args:
        root: an empty folder.
        count: plain files.
    """
    chance = random.Random(7)
    base = os.fsencode(root)
    folders = [base, *(os.path.join(base, name) for name in NAMES[1:24])]
    deep = base
    for level in range(30):
        deep = os.path.join(deep, b"deep-%d" % level)
        folders.append(deep)
    for folder in folders[1:]:
        os.makedirs(folder, exist_ok=True)
    made = 0
    while made < count:
        name = NAMES[made % len(NAMES)] if made < len(folders) * len(NAMES) else b"f%d" % made
        folder = folders[made // len(NAMES) % len(folders)]
        path = os.path.join(folder, name if not os.path.isdir(os.path.join(folder, name)) else b"f%d" % made)
        with open(path, "wb") as file:
            file.write(chance.randbytes(chance.choice((0, 1, 10, 300, 5000))))
        os.chmod(path, 0o755 if made % 7 == 0 else 0o644)
        made += 1
    os.makedirs(os.path.join(base, b"empty", b"inside"))
    for name, target in LINKS.items():
        os.symlink(target, os.path.join(base, name))


LINKS = {
    b"link-relative": b"deep-0/../with space.txt",
    b"link-dangling": b"nowhere",
    b"link-cyclic": b"link-cyclic",
    b"link-folder": b"deep-0",
    b"link-outside": b"/etc/hostname",
    b"link-up": b"../secret.txt",
}
OUTSIDE = {b"link-outside", b"link-up"}
"""Links that lead out of the tree: they are kept as links, and what they lead to is not sent."""


def special(root: Path) -> None:
    """Add what is no file: a FIFO and a socket."""
    os.mkfifo(root / "a-fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        here = Path.cwd()
        os.chdir(root)  # the path of a socket may not be long
        try:
            sock.bind("a-socket")
        finally:
            os.chdir(here)


def contents(root: Path) -> dict[bytes, tuple[str, ...]]:
    """Return every path below a folder: its kind, and its digest and x-bit or its target; folders only when empty."""
    base = os.fsencode(root)
    found: dict[bytes, tuple[str, ...]] = {}
    for folder, folders, files in os.walk(base):
        if not folders and not files and folder != base:
            found[os.path.relpath(folder, base)] = ("empty folder",)
        for name in [*files, *(each for each in folders if os.path.islink(os.path.join(folder, each)))]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            where = os.path.relpath(path, base)
            if stat.S_ISLNK(status.st_mode):
                found[where] = ("link", os.fsdecode(os.readlink(path)))
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
                found[where] = ("file", digest, "x" if status.st_mode & 0o100 else "-")
    return found
