"""Where laptop state lives."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.paths import orch_home, private_folder


def test_the_variable_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_HOME", str(tmp_path / "deep" / "home"))
    home = orch_home()
    assert home == tmp_path / "deep" / "home"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert orch_home() == home
    assert stat.S_IMODE(private_folder(home / "tmp").stat().st_mode) == 0o700


def test_without_it_the_platform_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCH_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert orch_home().is_relative_to(tmp_path)


@pytest.mark.parametrize("value", ["relative/path", "."])
def test_a_relative_home_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_HOME", value)
    with pytest.raises(UsageError, match="not an absolute path"):
        orch_home()


def test_a_home_that_cannot_be_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ORCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UsageError, match="cannot keep its state"):
        orch_home()
