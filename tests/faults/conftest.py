"""What the tests of faults share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the agent is unpacked once for all hosts."""
    return tmp_path_factory.mktemp("agents")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A code tree."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print('hello')\n")
    return folder
