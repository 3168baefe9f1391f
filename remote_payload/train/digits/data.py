"""Images and labels as tensors, and the loaders that hand them out in batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from . import mnist
from .errors import InputError

if TYPE_CHECKING:
    Batches = DataLoader[tuple[Tensor, ...]]
else:  # Python 3.8, which old images have, cannot subscript tuple
    Batches = DataLoader
TEST_SHARE = 5  # of the scikit-learn digits, every fifth image is for the test


class Images(NamedTuple):
    """images: count x 1 x 28 x 28, float, mean 0 and deviation 1 over the training part; labels: count, 0 to 9."""

    train: TensorDataset
    test: TensorDataset


def load_images(name: str, folder: Path, mirrors: Sequence[str] | None) -> Images:
    """Load one of the data sets.

    Args:
        name: "digits" or "mnist".
        folder: where the MNIST files are; not used for digits.
        mirrors: addresses to fetch missing files from; empty = the known ones, None = fetch nothing.

    Raises:
        InputError: the data is not there or not what it must be.
        TrainError: a download failed.
    """
    if name == "digits":
        return _digits()
    if mirrors is not None:
        mnist.download(folder, mirrors or mnist.MIRRORS)
    train, test = mnist.load(folder, "train"), mnist.load(folder, "t10k")
    return _normalised(_tensors(train), _tensors(test))


def _tensors(split: mnist.Split) -> tuple[Tensor, Tensor]:
    images = torch.frombuffer(bytearray(split.images.values), dtype=torch.uint8)
    labels = torch.frombuffer(bytearray(split.labels.values), dtype=torch.uint8)
    return images.reshape(-1, 1, mnist.SIDE, mnist.SIDE).float() / 255.0, labels.long()


def _digits() -> Images:
    """The 1,797 handwritten digits of scikit-learn (8 x 8, values 0 to 16), enlarged to MNIST's 28 x 28."""
    try:
        from sklearn.datasets import load_digits  # here, because --data mnist does not need it
    except ImportError as error:
        raise InputError(
            "scikit-learn, which brings the digits, is not installed in this Python; "
            "`python -m pip install scikit-learn`, or train with --data mnist."
        ) from error
    bunch = load_digits()
    small = torch.as_tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16.0
    size = (mnist.SIDE, mnist.SIDE)
    images = functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    # One fixed split, whatever --seed is, so that accuracies can be compared. The file is sorted by writer: mix first.
    order = list(range(len(labels)))
    random.Random(0).shuffle(order)
    test, train = order[::TEST_SHARE], [n for i, n in enumerate(order) if i % TEST_SHARE]
    return _normalised((images[train], labels[train]), (images[test], labels[test]))


def _normalised(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Images:
    mean, deviation = train[0].mean(), train[0].std().clamp_min(1e-6)
    return Images(
        TensorDataset((train[0] - mean) / deviation, train[1]),
        TensorDataset((test[0] - mean) / deviation, test[1]),
    )


def loader(images: TensorDataset, batch_size: int, workers: int, *, seed: int | None, pin: bool) -> Batches:
    """Batches of `images`; `seed` mixes them anew each epoch, None keeps their order. `pin`: for copies to a GPU."""
    return DataLoader(
        images,
        batch_size=batch_size,
        sampler=None if seed is None else RandomSampler(images, generator=torch.Generator().manual_seed(seed)),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        # Of its own: how often it is drawn from depends on `workers`, which must not change the order or the dropout.
        generator=torch.Generator(),
    )
