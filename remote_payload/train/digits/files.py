"""What a run leaves in its output folder: metrics.jsonl, checkpoint.pt, model.pt."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from .errors import InputError, TrainError


class Output:
    """The output folder of one run; makes it, and begins metrics.jsonl anew.

    Raises:
        InputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._metrics: IO[str] = (folder / "metrics.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror}); choose another --output-dir.") from error

    def metrics(self, values: Mapping[str, float]) -> None:
        """Append one line of JSON, flushed, so that a reader sees each epoch as it ends. Not a number -> null."""
        line = {key: value if math.isfinite(value) else None for key, value in values.items()}
        try:
            self._metrics.write(json.dumps(line) + "\n")
            self._metrics.flush()
        except OSError as error:
            raise _cannot_write(self.folder / "metrics.jsonl", error) from error

    def save(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write `content` with torch.save beside the target, then rename: a reader never sees half a file."""
        target = self.folder / name
        temp = self.folder / f".{name}.{os.getpid()}.part"
        try:
            with temp.open("wb") as file:
                torch.save(dict(content), file)
                file.flush()
                os.fsync(file.fileno())
            temp.replace(target)
        except (OSError, RuntimeError) as error:  # torch's zip writer says RuntimeError when the disk is full
            temp.unlink(missing_ok=True)
            raise _cannot_write(target, error) from error
        return target

    def close(self) -> None:
        """No more metrics."""
        self._metrics.close()


def _cannot_write(path: Path, error: Exception) -> TrainError:
    return TrainError(f"{path} cannot be written: {error}. Look at the free space with `df -h {path.parent}`.")
