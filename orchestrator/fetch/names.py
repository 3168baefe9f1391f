"""Which name a result gets on this computer. Pure.

A name is kept as it is unless this system cannot hold it, it is a control character's hiding place, or it is taken;
then single characters of it are percent-encoded.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator

MAX_PART = 255
"""Bytes of UTF-8 that one name may have (ext4, APFS; NTFS allows 255 UTF-16 units, which is never less)."""
KEPT_ENDING = 16
PARTIAL = ".partial"

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?=$|[. ])", re.IGNORECASE)
_WINDOWS = frozenset('<>:"|?*\\')
_OWN = re.compile(r"log(?:\.\d+)?|job\.json|gpu\.jsonl|\.partial", re.IGNORECASE)


def percent(char: str) -> str:
    """Return a character as %XX of its bytes; a surrogate escape gives the byte it stands for."""
    try:
        data = char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = char.encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)


def encode_part(name: str, *, windows: bool) -> str:
    """Return one part of a path as a name that can be held.

    Args:
        name: anything a host sent; slashes are no separators here.
        windows: also mind what Windows forbids.
    """
    if name in ("", ".", ".."):
        return name.replace(".", "%2E") or "%"
    text = "".join(percent(char) if _must_go(char, windows) else char for char in name)
    if windows and text[-1] in ". ":
        text = text[:-1] + percent(text[-1])
    if windows and _RESERVED.match(text):
        text = percent(text[0]) + text[1:]
    return text if len(text.encode("utf-8")) <= MAX_PART else _shorten(text, name)


def _must_go(char: str, windows: bool) -> bool:
    if char.isascii() and char.isprintable() and char != "/":
        return windows and char in _WINDOWS
    return char == "/" or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _shorten(text: str, name: str) -> str:
    """Cut a name in its middle; a digest of the whole keeps two long names apart."""
    mark = "~" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem, dot, ending = text.rpartition(".")
    tail = dot + ending if stem and len(ending.encode("utf-8")) <= KEPT_ENDING else ""
    room = MAX_PART - len((mark + tail).encode("utf-8"))
    return text.encode("utf-8")[:room].decode("utf-8", "ignore") + mark + tail


def spellings(name: str) -> Iterator[str]:
    """Yield a name, then the same with more and more leading characters percent-encoded, for when it is taken."""
    yield name
    for count in range(1, len(name) + 1):
        yield "".join(map(percent, name[:count])) + name[count:]
    number = 2
    while True:
        yield f"{name}~{number}"
        number += 1


def for_attempt(name: str, attempt: int) -> Iterator[str]:
    """Yield names for content that differs from what an earlier pull left under `name`.

    `model.pt` of attempt 2 becomes `model.attempt-2.pt`, then `model.attempt-2-2.pt`, and so on.
    """
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    number = 1
    while True:
        mark = f".attempt-{attempt}" + (f"-{number}" if number > 1 else "")
        yield encode_part(stem + mark + dot + ending, windows=False)
        number += 1


class Layout:
    """Gives every result of a job a place of its own below one folder.

    Args:
        windows: mind what Windows forbids.
        folds: the file system takes names that differ only in case or Unicode form for one.
    """

    def __init__(self, *, windows: bool, folds: bool) -> None:
        self._windows = windows
        self._folds = folds
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def place(self, path: str) -> str:
        """Return where a file goes, as a relative path with slashes; never the same place twice.

        Args:
            path: a checked relative path (no "..", no empty part).
        """
        parts = [encode_part(part, windows=self._windows) for part in path.split("/")]
        above = ""
        for part in parts[:-1]:
            above = self._folder(above, part)
        for name in spellings(parts[-1]):
            local = above + name
            key = self._key(local)
            if not self._own(local) and key not in self._files and key not in self._folders:
                break
        self._files.add(key)
        return local

    def _folder(self, above: str, part: str) -> str:
        for name in spellings(part):
            local = above + name
            key = self._key(local)
            if not self._own(local) and key not in self._files:
                break
        self._folders.add(key)
        return local + "/"

    def _key(self, local: str) -> str:
        return unicodedata.normalize("NFC", local).casefold() if self._folds else local

    def _own(self, local: str) -> bool:
        """Whether orch itself writes that file (log, job.json, …), so that no result may take its name."""
        return _OWN.fullmatch(local) is not None
