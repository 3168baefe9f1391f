"""Where this agent itself lies."""

from __future__ import annotations

import os


def agent_dir() -> str:
    """Return the folder that holds `remote_payload` and `__main__.py`: what `python -I -S FOLDER ROLE` runs."""
    folder = os.path.abspath(__file__)
    for _ in __name__.split("."):
        folder = os.path.dirname(folder)
    return folder
