from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.agent.spool.builder import Builder


@pytest.fixture
def spool(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "spool")
