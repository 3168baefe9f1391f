"""An nvidia-smi that prints cards whose use a test sets."""

from __future__ import annotations

import uuid
from pathlib import Path
from types import TracebackType

from remote_payload.agent.run.gpulock import FOLDER


class StandInGpus:
    """Some cards of one host. A context manager: it removes the lock files of its cards at the end.

    Args:
        tools: a folder on the host's PATH.
        names: the cards' names.
    """

    def __init__(self, tools: Path, names: tuple[str, ...] = ("NVIDIA GeForce RTX 4090",)) -> None:
        self.uuids = [f"GPU-test-{uuid.uuid4()}" for _ in names]
        self._tools = tools
        rows = []
        for index, (ident, name) in enumerate(zip(self.uuids, names, strict=True)):
            self.use(1, index)
            used = f"$(cat {tools}/used-{index})"
            rows.append(
                f'echo "{index}, {ident}, {name}, 24564, {used}, $(cat {tools}/busy-{index}), 31, 15.42, 550.54.14"'
            )
        tool = tools / "nvidia-smi"
        tool.write_text("\n".join(["#!/bin/sh", *rows, ""]))
        tool.chmod(0o755)

    def use(self, mib: int, index: int = 0, busy: int = 0) -> None:
        """Set a card's used memory in MiB and its utilisation in percent."""
        for name, value in (("used", mib), ("busy", busy)):
            beside = self._tools / f"{name}-{index}.new"
            beside.write_text(str(value))
            beside.rename(self._tools / f"{name}-{index}")

    def __enter__(self) -> StandInGpus:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ident in self.uuids:
            for path in Path(FOLDER).glob(f"orch-gpu-{ident}.*"):
                path.unlink()
