"""The real Pythons of this machine, so that the agent is tried on its oldest and its newest."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

OLDEST = (3, 8)
_NAME = re.compile(r"python(\d)\.(\d+)")


class Python(NamedTuple):
    """An interpreter; `name` is its version, for test ids."""

    name: str
    path: str

    def __str__(self) -> str:
        return self.path


@cache
def pythons(old: bool = False) -> list[Python]:
    """Return this interpreter and one of every other minor version found (pyenv, PATH), oldest first.

    Args:
        old: return those that are too old for the agent instead.
    """
    folders = [*Path("~/.pyenv/versions").expanduser().glob("*/bin"), *map(Path, os.get_exec_path())]
    found = {sys.version_info[:2]: sys.executable}
    for folder in folders:
        # pyenv's shims answer to every name, also where the version is not installed.
        for place in folder.glob("python?.*") if folder.name != "shims" else ():
            named = _NAME.fullmatch(place.name)
            if named:
                found.setdefault((int(named[1]), int(named[2])), str(place))
    wanted = sorted(version for version in found if (version < OLDEST) == old)
    return [Python(f"{major}.{minor}", found[major, minor]) for major, minor in wanted]
