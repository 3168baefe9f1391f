"""Where orch keeps what it knows on the laptop."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_dir

from orchestrator.errors import UsageError

HOME_VARIABLE = "ORCH_HOME"


def orch_home() -> Path:
    """Return the folder of all laptop state, made with mode 0700 when it is not there.

    It is $ORCH_HOME, else the platform's folder for user data (platformdirs, "orch").

    Raises:
        UsageError: it is not absolute, or cannot be made or used.
    """
    given = os.environ.get(HOME_VARIABLE, "")
    home = Path(given).expanduser() if given else Path(user_data_dir("orch", appauthor=False))
    if not home.is_absolute():
        raise UsageError(f"{HOME_VARIABLE} is {given!r}, and that is not an absolute path")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = f"Set {HOME_VARIABLE} to a folder that you may write."
        raise UsageError(f"orch cannot keep its state in {home}: {error.strerror}", hint) from error
    return home


def private_folder(path: Path) -> Path:
    """Make a folder with mode 0700 (and the missing ones above it) and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
