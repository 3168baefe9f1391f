"""One epoch of training, one look at the test images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from .data import Batches


class Score(NamedTuple):
    """Mean over the images: the loss (nats), and the share that was right (0 to 1)."""

    loss: float
    accuracy: float


class _Sum:
    """Adds up on the device, so that the GPU is asked for numbers once an epoch and not once a batch."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.right = torch.zeros((), device=device)
        self.count = 0

    def add(self, loss: Tensor, output: Tensor, labels: Tensor) -> None:
        self.loss += loss.detach() * len(labels)
        self.right += (output.argmax(dim=1) == labels).sum()
        self.count += len(labels)

    def score(self) -> Score:
        return Score(self.loss.item() / self.count, self.right.item() / self.count)


def train_epoch(model: nn.Module, batches: Batches, optimizer: Optimizer, device: torch.device) -> Score:
    """Train on every batch once; the score is that of the outputs while training, dropout on."""
    model.train()
    total = _Sum(device)
    for images, labels in batches:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        output = model(images)
        loss = functional.nll_loss(output, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total.add(loss, output, labels)
    return total.score()


def test_epoch(model: nn.Module, batches: Batches, device: torch.device) -> Score:
    """Score every test image; changes nothing."""
    model.eval()
    total = _Sum(device)
    with torch.no_grad():
        for images, labels in batches:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            output = model(images)
            total.add(functional.nll_loss(output, labels), output, labels)
    return total.score()
