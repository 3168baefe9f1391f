"""Room where a path lies."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from remote_payload.agent.machine.disk import disk_facts, existing


def test_a_path_that_is_not_made_yet(tmp_path: Path) -> None:
    wanted = tmp_path / "spool" / "deep"
    assert existing(str(wanted)) == str(tmp_path)
    facts = disk_facts(str(wanted))
    assert facts["path"] == str(wanted)
    assert 0 <= facts["free"] <= facts["total"]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert disk_facts("~/.orch")["path"] == str(tmp_path / ".orch")


def test_file_systems_that_do_not_count_inodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = SimpleNamespace(f_bavail=5, f_frsize=4096, f_blocks=10, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda path: stat)
    assert disk_facts(str(tmp_path)) == {
        "path": str(tmp_path),
        "free": 20480,
        "total": 40960,
        "inodes_free": None,
        "inodes_total": None,
    }


def test_what_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "statvfs", refuse)
    assert disk_facts(str(tmp_path))["free"] is None
