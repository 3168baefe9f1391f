"""Reads IDX files, the format of MNIST, plain or gzipped. Standard library only.

An IDX file is: two zero bytes, one byte for the type (8 = unsigned byte), one byte for the number of dimensions,
each dimension as a big-endian 32-bit number, then the values. Source: the MNIST page of Y. LeCun, "FILE FORMATS".
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from .errors import InputError

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
LIMIT = 1 << 30  # bytes of values; MNIST has 47 MB, so a larger claim is a broken or hostile header


class Idx(NamedTuple):
    """dims: the size in each dimension; values: one byte each, the last dimension fastest."""

    dims: tuple[int, ...]
    values: bytes


def read_idx(path: Path, dimensions: int) -> Idx:
    """Read one file whole.

    Args:
        path: plain or gzipped IDX file; told apart by content, not by name.
        dimensions: how many there must be (3 for images, 1 for labels).

    Raises:
        InputError: not there, not IDX, of another shape, cut short, too long, or a damaged gzip.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not packed:
                return _read(raw, path, dimensions)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(cast(BinaryIO, unpacked), path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); fetch it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(file: BinaryIO, path: Path, dimensions: int) -> Idx:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise InputError(f"{path} is not an IDX file (it begins with {head.hex() or 'nothing'}); fetch it again.")
    if head[2] != UNSIGNED_BYTE or head[3] != dimensions:
        raise InputError(
            f"{path} holds type {head[2]} in {head[3]} dimensions where unsigned bytes in {dimensions} are needed; "
            "images and labels may be swapped."
        )
    packed = file.read(4 * dimensions)
    if len(packed) < 4 * dimensions:
        raise InputError(f"{path} ends inside its header; fetch it again.")
    dims: tuple[int, ...] = struct.unpack(f">{dimensions}I", packed)
    size = 1
    for dim in dims:
        size *= dim
    if not 0 < size <= LIMIT:
        raise InputError(f"{path} says it has {' x '.join(map(str, dims))} values, which cannot be; fetch it again.")
    values = file.read(size + 1)
    if len(values) != size:
        what = "more" if len(values) > size else f"only {len(values):,}"
        raise InputError(f"{path} should hold {size:,} values and has {what}; fetch it again.")
    return Idx(dims, values)
