"""What `pip install` of orch puts on a laptop: megabytes and packages, without pip itself and without `[train]`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.rows import Row
from bench.sizes import Size

NAME = "install"
MOST_MB, MOST_PACKAGES = 65.0, 40.0
ROOT = Path(__file__).resolve().parents[2]


def measure(size: Size) -> Iterator[Row]:
    """Yield size and count; nothing where no packages can be fetched, and the row says so."""
    folder = Path(tempfile.mkdtemp(prefix="orch-bench-install-"))
    try:
        target = folder / "site"
        said = _install(target)
        if said:
            yield Row("install size", [], "MB", most=MOST_MB, note=f"pip could not install it: {said}")
            return
        packages = [path.name for path in target.glob("*.dist-info")]
        yield Row("install size", [_size(target) / 1e6], "MB", most=MOST_MB,
                  note="on disk, compiled files included; SkyPilot 520 MB, dstack 160 MB when it was set")  # fmt: skip
        yield Row("packages installed", [len(packages)], "", most=MOST_PACKAGES, note="orch itself is one of them")
    finally:
        shutil.rmtree(folder)


def _install(target: Path) -> str:
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(target)]
    done = subprocess.run([*argv, str(ROOT)], capture_output=True, text=True, check=False, env=dict(os.environ))
    return done.stderr.strip()[-300:] if done.returncode else ""


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
