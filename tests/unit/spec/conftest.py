"""Reads a jobs.yaml as the controller does, from a file that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.spec.expand import JobsFile, load_jobs_file

Load = Callable[..., JobsFile]
Refused = Callable[..., tuple[str, str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return what reads a text (or bytes) as jobs.yaml."""

    def read(content: str | bytes, **over: Any) -> JobsFile:
        path = tmp_path / "jobs.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_jobs_file(path, **over)

    return read


@pytest.fixture
def refused(tmp_path: Path, load: Load) -> Refused:
    """Return what gives ("line:column: sentence", hint) of a file that must be refused."""

    def read(content: str | bytes) -> tuple[str, str]:
        with pytest.raises(ConfigError) as caught:
            load(content)
        error = caught.value
        prefix = f"{tmp_path / 'jobs.yaml'}:"
        assert error.exit_code == 2
        assert error.message.startswith(prefix)
        assert "\n" not in error.message and not error.message.endswith(".")
        return error.message.removeprefix(prefix), error.hint

    return read
