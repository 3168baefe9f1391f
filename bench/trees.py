"""Project folders for syncs: text that compresses about as well as code and logs do."""

from __future__ import annotations

import random
from pathlib import Path

PER_FOLDER = 50


def fill(folder: Path, files: int, file_bytes: int, seed: int) -> None:
    """Write files of about one size; another seed gives wholly other contents, so that nothing is there already."""
    chance = random.Random(seed)
    for number in range(files):
        place = folder / f"part{number // PER_FOLDER:03}" / f"file{number:05}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_text(chance, chance.randint(file_bytes // 2, file_bytes * 3 // 2)))


def _text(chance: random.Random, size: int) -> bytes:
    # Digits of random bytes: about 2 to 1 for every compressor, whatever its window.
    return chance.randbytes(size // 2 + 1).hex().encode()[:size]


def change_one(folder: Path, mark: int) -> None:
    """Change one file, as an edit between two submits does."""
    (folder / "part000" / "file00000.txt").write_text(f"edited {mark}\n", encoding="ascii")
