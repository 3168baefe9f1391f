"""Which wandb mode is chosen, without wandb's server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from remote_payload.train.digits import tracking


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_auto_is_offline_without_a_key_and_online_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert tracking.choose_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking.choose_mode("auto") == "offline"
    assert tracking.choose_mode("online") == "online"
    assert tracking.choose_mode("off") == "disabled"


def test_a_netrc_line_for_the_server_is_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.wandb.ai login user password secret\n")
    assert tracking.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.example:8443")
    assert not tracking.has_key()
    netrc.write_bytes(b"machine api.wandb.ai \xff broken")
    assert not tracking.has_key()


def test_off_and_not_installed_are_said_and_do_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it now raises ImportError
    for wanted in ("off", "auto"):
        tracker = tracking.start(wanted, "digits", {}, tmp_path, said.append)
        tracker.log({"loss": 1.0}, step=1)
        tracker.finish()
    assert said[0] == "wandb: off"
    assert "not installed" in said[1]
    assert list(tmp_path.iterdir()) == []
