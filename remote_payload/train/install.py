"""Install what train.py needs and this Python lacks; change nothing that is there: `python install.py`.

Rented images come with a PyTorch built for their driver. What is installed of it, and numpy, which it was built
against, are given to pip as constraints, so that no new package can pull another version in.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Import name -> what pip is asked for. PyTorch 2.13 wants Python 3.10; older Pythons get the newest that has them.
NEEDED = {
    "torch": "torch==2.13.0" if sys.version_info >= (3, 10) else "torch",
    "sklearn": "scikit-learn",
}
WANTED = {"wandb": "wandb"}
PROTECTED = ("torch", "torchvision", "torchaudio", "triton", "numpy")


def missing(packages: dict[str, str]) -> list[str]:
    """The requirements of those packages that this Python cannot find."""
    return [requirement for name, requirement in packages.items() if importlib.util.find_spec(name) is None]


def constraints() -> list[str]:
    """`name==version` of what must stay as it is."""
    lines = []
    for name in PROTECTED:
        try:
            lines.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return lines


def pip_install(requirements: Sequence[str]) -> int:
    """Run pip under the constraints; returns its exit code."""
    keep = constraints()
    print(
        f"installing {', '.join(requirements)}" + (f"; kept as they are: {', '.join(keep)}" if keep else ""), flush=True
    )
    descriptor, path = tempfile.mkstemp(prefix="keep-", suffix=".txt", text=True)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(keep) + "\n")
        # Compiling all of PyTorch takes longer than installing it; Python compiles what is imported by itself.
        command = [sys.executable, "-m", "pip", "install", "--no-compile", "--constraint", path, *requirements]
        return subprocess.run(command, check=False).returncode
    finally:
        Path(path).unlink()


def main() -> int:
    """0 when train.py can run; what pip said when it cannot. wandb is a wish: training goes without it."""
    needed, wanted = missing(NEEDED), missing(WANTED)
    if not needed and not wanted:
        print(f"nothing to install: {', '.join(constraints())}")
        return 0
    code = pip_install([*needed, *wanted])
    if code and needed and wanted:
        code = pip_install(needed)
    if code and not needed:
        print("wandb could not be installed; training goes on without it.", flush=True)
        return 0
    if code:
        print(f"{', '.join(needed)} could not be installed (pip's reason stands above).", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
