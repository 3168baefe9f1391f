"""The command line. Imports no torch, so that --help and a wrong flag answer at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

LARGEST = 1e9  # beyond it the optimizer's own arithmetic overflows


class _Parser(argparse.ArgumentParser):
    """argparse without the usage block: a wrong flag costs one sentence (exit 2)."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see --help.\n")


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    return parse


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= LARGEST:  # not a number is refused too
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LARGEST:g}")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The parser of train.py; every default is printed by --help."""
    parser = _Parser(
        prog="train.py",
        description="Train a small CNN on handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    _add_training(parser)
    _add_files(parser)
    return parser


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--epochs", type=_integer(1, 100_000), default=10, help="passes over the training images")
    add("--batch-size", type=_integer(1, 65_536), default=64, help="images in one step")
    add("--num-workers", type=_integer(0, 256), default=0, help="loader processes; 0 loads in the main process")
    add("--lr", type=_positive, default=0.001, help="learning rate of the first epoch")
    add("--gamma", type=_positive, default=0.9, help="the learning rate is multiplied by this after each epoch")
    add("--seed", type=_integer(0, 2**32 - 1), default=1, help="same seed, same machine, same numbers")


def _add_files(parser: argparse.ArgumentParser) -> None:
    def add(name: str, **options: Any) -> None:
        parser.add_argument(name, **options)

    out = os.environ.get("ORCH_OUTPUT_DIR") or "output"
    add(
        "--data",
        choices=("digits", "mnist"),
        default="digits",
        help="digits comes with scikit-learn; mnist = IDX files",
    )
    add("--data-dir", type=Path, default=Path("data"), help="folder of the MNIST files")
    add("--download", action="store_true", help="fetch the MNIST files that are not in --data-dir")
    add("--mirror", action="append", default=[], help="address to fetch MNIST from, instead of the known ones")
    add("--output-dir", type=Path, default=Path(out), help="where metrics, checkpoint and model go")
    add(
        "--wandb",
        choices=("auto", "online", "offline", "off"),
        default="auto",
        help="auto = online when a key is there",
    )
    add("--project", default="digits", help="wandb project")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags as typed values; exits 2 with one sentence on a wrong one."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.data == "digits" and (args.download or args.mirror):
        parser.error("--download and --mirror are for --data mnist; the digits come with scikit-learn")
    if args.mirror and not args.download:
        parser.error("--mirror says where to download from; add --download")
    return args
