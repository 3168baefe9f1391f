"""Draws docs/pictures: what a terminal really shows of `orch submit` and `orch status`, as SVG.

Usage: .venv/bin/python -m tools.pictures [FOLDER]      (needs `make test`'s .venv; takes a minute)

A real sshd on loopback is the host `box`; the jobs train the digits of remote_payload/train.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from orchestrator.demo_files import PAYLOAD, write_demo_project
from tests.harness.cli import Laptop
from tests.harness.ssh_laptop import SshLaptop
from tests.harness.terminal import Terminal
from tests.harness.waiting import wait_until

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 100
JOBS = """\
project: digits
jobs:
  train:
    run: python train.py ${{ matrix.args }} --epochs %d --wandb off --output-dir output
    matrix: {lr: %s}
"""
DARK = TerminalTheme(
    (24, 26, 31), (205, 209, 214),
    [(60, 64, 72), (224, 108, 117), (152, 195, 121), (229, 192, 123),
     (97, 175, 239), (198, 120, 221), (86, 182, 194), (205, 209, 214)],
    [(110, 116, 126), (240, 130, 138), (172, 215, 141), (240, 208, 143),
     (120, 190, 250), (214, 140, 236), (106, 202, 214), (255, 255, 255)],
)  # fmt: skip


def main(folder: Path) -> None:
    """Draw both pictures into `folder`."""
    with (
        tempfile.TemporaryDirectory(prefix="orch-pictures-", ignore_cleanup_errors=True) as place,
        SshLaptop(Path(place)) as box,
    ):
        demo = write_demo_project(Path(place) / "demo").parent
        shutil.copytree(demo / PAYLOAD, box.laptop.folder, dirs_exist_ok=True)
        # The job's Python is that of the login shell: here the one that has PyTorch.
        python = shlex.quote(str(Path(sys.executable).parent))
        (box.host_home / ".profile").write_text(f"PATH={python}:$PATH\n", encoding="utf-8")
        _submit(box.laptop, folder / "submit.svg")
        _status(box.laptop, folder / "status.svg")


def _submit(laptop: Laptop, target: Path) -> None:
    laptop.jobs_yaml(JOBS % (3, "[1e-3, 3e-3]"))
    with Terminal(laptop, "submit", size=(COLUMNS, 24)) as terminal:
        if terminal.wait(180):
            raise SystemExit(terminal.text())
        draw("orch submit", terminal, target)


def _status(laptop: Laptop, target: Path) -> None:
    laptop.jobs_yaml(JOBS % (12, "[1e-2, 3e-4, 1e-4]"))
    laptop.orch("submit", "-d")

    def well_under_way() -> bool:
        told = [job["progress"] for job in laptop.json("status")["jobs"] if job["state"] == "RUNNING"]
        return bool(told) and all(progress and progress.get("eta_s") for progress in told)

    wait_until(well_under_way, 120, "every running job tells how far it is")
    with Terminal(laptop, "status", size=(COLUMNS, 24)) as terminal:
        terminal.wait()
        draw("orch status", terminal, target)
    laptop.orch("cancel", "--all", "-y")
    laptop.orch("wait", code=None)


def draw(command: str, terminal: Terminal, target: Path) -> None:
    """Write what a terminal shows, and what has scrolled out of it, as an SVG.

    Args:
        command: stands above it, as it was typed.
    """
    rows = terminal.cells()
    while rows and not rows[-1]:
        rows.pop()
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    for row in rows:
        line = Text(no_wrap=True, end="\n")
        for style, cells in groupby(row, _style):
            line.append("".join(cell.data for cell in cells), style)
        console.print(line, overflow="crop")
    svg = console.export_svg(title="", theme=DARK, unique_id="orch-" + target.stem)
    # Whoever reads README fetches no font for it.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE) + "\n", encoding="utf-8")


def _style(cell: Any) -> Style:
    """Return a cell's looks; pyte says brown for yellow, brightred for bright red, and hexadecimal for the rest."""
    name = re.sub(r"^bright(?=[a-z])", "bright_", str(cell.fg).replace("brown", "yellow"))
    if re.fullmatch("[0-9a-f]{6}", name):
        name = "#" + name
    return Style(color=None if name == "default" else name, bold=cell.bold or None, reverse=cell.reverse or None)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
