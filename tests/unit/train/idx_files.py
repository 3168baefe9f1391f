"""Makes IDX files, good and bad."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path


def idx_bytes(dims: tuple[int, ...], values: bytes, kind: int = 8) -> bytes:
    """An IDX file's bytes; `values` are not checked against `dims`."""
    return struct.pack(">HBB", 0, kind, len(dims)) + struct.pack(f">{len(dims)}I", *dims) + values


def write_part(folder: Path, part: str, images: list[bytes], labels: list[int], *, packed: bool) -> None:
    """Write one part of MNIST ("train" or "t10k"): 28 x 28 images, and their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{part}-images-idx3-ubyte": idx_bytes((len(images), 28, 28), b"".join(images)),
        f"{part}-labels-idx1-ubyte": idx_bytes((len(labels),), bytes(labels)),
    }
    for name, content in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)
