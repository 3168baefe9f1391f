"""A whole training run: device, data, model, epochs, files, wandb."""

from __future__ import annotations

import argparse
import math
import random
import time
from typing import Any, NamedTuple

import torch
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR

from .data import Batches, load_images, loader
from .errors import TrainError
from .files import Output
from .loop import test_epoch, train_epoch
from .model import Net
from .tracking import Tracker, start


class _Parts(NamedTuple):
    model: nn.Module
    train: Batches
    test: Batches
    optimizer: optim.Optimizer
    scheduler: StepLR
    device: torch.device


def say(line: str) -> None:
    """One line for the log, seen at once even when stdout is a file."""
    print(line, flush=True)


def pick_device() -> torch.device:
    """The GPU when CUDA works, else the CPU with a warning."""
    if torch.cuda.is_available():
        say(f"device: cuda ({torch.cuda.get_device_name()}), torch {torch.__version__}")
        return torch.device("cuda")
    say(f"device: cpu, torch {torch.__version__}")
    say("warning: CUDA is not available, so this runs on the CPU and takes longer.")
    return torch.device("cpu")


def seed_everything(seed: int) -> None:
    """The same numbers for the same seed on the same machine."""
    random.seed(seed)
    torch.manual_seed(seed)  # every GPU's generator too
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def run(args: argparse.Namespace) -> None:
    """Train as the flags say.

    Raises:
        TrainError: with the sentence for the person.
    """
    parts = _prepare(args)
    output = Output(args.output_dir)
    tracker = Tracker()
    exit_code = 1
    try:
        config = {name: _plain(value) for name, value in vars(args).items()}
        tracker = start(args.wandb, args.project, config, args.output_dir, say)
        for epoch in range(1, args.epochs + 1):
            _epoch(parts, epoch, args.epochs, output, tracker)
        model = output.save("model.pt", parts.model.state_dict())
        say(f"saved {model}")
        exit_code = 0
    finally:
        output.close()
        tracker.finish(exit_code)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, list)) else str(value)


def _prepare(args: argparse.Namespace) -> _Parts:
    mirrors = args.mirror if args.download else None
    images = load_images(args.data, args.data_dir, mirrors)
    seed_everything(args.seed)
    device = pick_device()
    pin = device.type == "cuda"
    model = Net().to(device)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    say(f"data: {args.data}, {len(images.train):,} images to train on, {len(images.test):,} to test on")
    return _Parts(
        model=model,
        train=loader(images.train, args.batch_size, args.num_workers, seed=args.seed, pin=pin),
        test=loader(images.test, max(args.batch_size, 256), 0, seed=None, pin=pin),
        optimizer=optimizer,
        scheduler=StepLR(optimizer, step_size=1, gamma=args.gamma),
        device=device,
    )


def _epoch(parts: _Parts, epoch: int, epochs: int, output: Output, tracker: Tracker) -> None:
    rate = parts.optimizer.param_groups[0]["lr"]
    began = time.perf_counter()
    train = train_epoch(parts.model, parts.train, parts.optimizer, parts.device)
    test = test_epoch(parts.model, parts.test, parts.device)
    seconds = time.perf_counter() - began
    parts.scheduler.step()
    say(
        f"epoch {epoch}/{epochs}  train loss {train.loss:.4f} accuracy {train.accuracy:.4f}  "
        f"test loss {test.loss:.4f} accuracy {test.accuracy:.4f}"
    )
    say(f"Elapsed time is {seconds:.2f} seconds")
    values = {
        "train_loss": train.loss,
        "train_accuracy": train.accuracy,
        "test_loss": test.loss,
        "test_accuracy": test.accuracy,
        "lr": rate,
        "seconds": seconds,
    }
    output.metrics({"epoch": epoch, "epochs": epochs, **values})
    tracker.log(values, step=epoch)
    if not math.isfinite(train.loss):
        raise TrainError(f"The loss is not a number any more in epoch {epoch}; try a smaller --lr than {rate:g}.")
    output.save(
        "checkpoint.pt",
        {
            "epoch": epoch,
            "model": parts.model.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "scheduler": parts.scheduler.state_dict(),
            "metrics": values,
        },
    )
