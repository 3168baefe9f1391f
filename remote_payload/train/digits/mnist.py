"""The four MNIST files: where they may lie, how they are fetched, how they are checked. Standard library only."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from .errors import InputError, TrainError
from .idx import Idx, read_idx

SIDE = 28
CLASSES = 10
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 16

# MD5 of each gzipped file, as torchvision.datasets.MNIST lists them (torchvision/datasets/mnist.py, `resources`).
CHECKSUMS: Mapping[str, str] = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
# The mirrors torchvision uses, in its order (same file, `mirrors`).
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")


class Split(NamedTuple):
    """images: count x 28 x 28 bytes; labels: one byte each, 0 to 9."""

    images: Idx
    labels: Idx


def find(folder: Path, name: str) -> Path | None:
    """The file `name` (with .gz) in `folder`, unpacked or gzipped, or where torchvision puts it."""
    for place in (folder, folder / "MNIST" / "raw"):
        for candidate in (place / name[: -len(".gz")], place / name):
            if candidate.is_file():
                return candidate
    return None


def load(folder: Path, part: str) -> Split:
    """Read one part ("train" or "t10k") and check that it is MNIST's shape.

    Raises:
        InputError: the folder or a file is missing, or a file is not what it must be.
    """
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}; give --data-dir the folder of the MNIST files, or add --download."
        )
    images = read_idx(_need(folder, f"{part}-images-idx3-ubyte.gz"), 3)
    labels = read_idx(_need(folder, f"{part}-labels-idx1-ubyte.gz"), 1)
    if images.dims[1:] != (SIDE, SIDE):
        raise InputError(f"The {part} images in {folder} are {images.dims[1]} x {images.dims[2]}, not {SIDE} x {SIDE}.")
    if images.dims[0] != labels.dims[0]:
        raise InputError(
            f"{folder} has {images.dims[0]:,} {part} images but {labels.dims[0]:,} labels; fetch both again."
        )
    if max(labels.values) >= CLASSES:
        raise InputError(f"The {part} labels in {folder} go up to {max(labels.values)}, not 9; this is not MNIST.")
    return Split(images, labels)


def _need(folder: Path, name: str) -> Path:
    path = find(folder, name)
    if path is None:
        raise InputError(f"{folder} has no {name} (nor the unpacked file); add --download to fetch it.")
    return path


def download(
    folder: Path,
    mirrors: Sequence[str] = MIRRORS,
    checksums: Mapping[str, str] = CHECKSUMS,
    say: Callable[[str], None] = print,
) -> None:
    """Fetch the files that `folder` lacks; each is checked, then renamed into place.

    Args:
        folder: made when it is not there.
        mirrors: addresses of folders, tried in order.
        checksums: file name -> MD5 of its bytes.
        say: gets one line for each file fetched and each mirror that failed.

    Raises:
        TrainError: no mirror gave a file whole and unchanged, or the disk refused it.
    """
    for name, md5 in checksums.items():
        if find(folder, name) is None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _fetch(folder / name, mirrors, md5, say)
            except OSError as error:
                raise TrainError(f"{folder / name} cannot be written: {error.strerror or error}.") from error


def _fetch(target: Path, mirrors: Sequence[str], md5: str, say: Callable[[str], None]) -> None:
    for mirror in mirrors:
        address = mirror.rstrip("/") + "/" + target.name
        temp = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            if _copy(address, temp) == md5:
                temp.replace(target)
                say(f"fetched {target.name} from {mirror}")
                return
            say(f"{address} has another checksum than MNIST's; it was not kept.")
        except (urllib.error.URLError, HTTPException, TimeoutError, ValueError) as error:
            say(f"{address} could not be fetched: {getattr(error, 'reason', error)}")
        finally:
            temp.unlink(missing_ok=True)
    raise TrainError(
        f"No mirror gave {target.name}; put the four MNIST files into {target.parent} by hand, name another --mirror, "
        "or train with --data digits, which needs no network."
    )


def _copy(address: str, target: Path) -> str:
    """Write what `address` holds to `target`, durably; returns its MD5."""
    # MD5 is the only checksum published for these files; the word is what lets FIPS systems compute it.
    digest = hashlib.md5(usedforsecurity=False) if sys.version_info >= (3, 9) else hashlib.md5()
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, target.open("wb") as file:
        while True:
            try:
                chunk = answer.read(CHUNK)
            except OSError as error:  # the line was lost; kept apart from a full disk
                raise urllib.error.URLError(error) from error
            if not chunk:
                break
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
