"""The four MNIST files: found, checked, fetched from a real HTTP server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from remote_payload.train.digits import mnist
from remote_payload.train.digits.errors import InputError, TrainError
from tests.unit.train.idx_files import idx_bytes, write_part

IMAGE = bytes(784)
NAME = "train-labels-idx1-ubyte.gz"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("place", [".", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_loads_plain_and_packed_files_here_and_where_torchvision_puts_them(
    tmp_path: Path, place: str, packed: bool
) -> None:
    write_part(tmp_path / place, "train", [IMAGE, bytes([9]) * 784], [3, 7], packed=packed)
    split = mnist.load(tmp_path, "train")
    assert split.images.dims == (2, 28, 28)
    assert split.images.values == IMAGE + bytes([9]) * 784
    assert list(split.labels.values) == [3, 7]


def test_missing_folder_and_missing_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*--download"):
        mnist.load(tmp_path / "none", "train")
    with pytest.raises(InputError, match=r"has no train-images.*--download"):
        mnist.load(tmp_path, "train")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_part(tmp_path / "count", "train", [IMAGE, IMAGE], [3], packed=False)
    with pytest.raises(InputError, match="2 train images but 1 labels"):
        mnist.load(tmp_path / "count", "train")
    write_part(tmp_path / "letters", "train", [IMAGE], [25], packed=False)
    with pytest.raises(InputError, match="up to 25"):
        mnist.load(tmp_path / "letters", "train")
    write_part(tmp_path / "size", "train", [IMAGE], [1], packed=False)
    (tmp_path / "size" / "train-images-idx3-ubyte").write_bytes(idx_bytes((1, 8, 8), bytes(64)))
    with pytest.raises(InputError, match="8 x 8, not 28 x 28"):
        mnist.load(tmp_path / "size", "train")


def test_download_tries_the_next_mirror_and_keeps_only_what_is_whole(tmp_path: Path, mirror: tuple[Path, str]) -> None:
    folder, address = mirror
    content = gzip.compress(idx_bytes((1,), b"\5"))
    (folder / NAME).write_bytes(content)
    (folder / "changed").mkdir()
    (folder / "changed" / NAME).write_bytes(content + b"!")
    said: list[str] = []
    data = tmp_path / "new" / "data"
    checksums = {NAME: hashlib.md5(content, usedforsecurity=False).hexdigest()}
    mirrors = [address + "none/", address + "changed", address]
    mnist.download(data, mirrors, checksums, said.append)
    assert (data / NAME).read_bytes() == content
    assert [path.name for path in data.iterdir()] == [NAME]
    assert len(said) == 3
    assert "could not be fetched" in said[0]
    assert "another checksum" in said[1]
    assert said[2].startswith("fetched")

    said.clear()
    mnist.download(data, ["http://127.0.0.1:9/"], checksums, said.append)
    assert said == []  # what is there is not fetched again


def test_download_without_a_good_mirror_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, mirror: tuple[Path, str]
) -> None:
    folder, address = mirror
    (folder / NAME).write_bytes(b"not it")
    data = tmp_path / "data"
    with pytest.raises(TrainError, match=r"No mirror gave .*--data digits") as caught:
        mnist.download(data, [address, "http://127.0.0.1:9/", "nonsense"], {NAME: "0" * 32}, lambda line: None)
    assert caught.value.exit_code == 1
    assert list(data.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match="cannot be written"):
        mnist.download(tmp_path / "file" / "data", ["http://127.0.0.1:9/"], {NAME: ""}, lambda line: None)


def test_the_known_files_are_the_four_of_mnist() -> None:
    assert sorted(mnist.CHECKSUMS) == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in mnist.CHECKSUMS.values())
