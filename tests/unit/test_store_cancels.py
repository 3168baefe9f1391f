"""Cancels that wait for their host in the laptop's store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orchestrator.store import KeptCancel, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orch.db"


def test_kept_once_by_name_and_by_machine_until_dropped(path: Path) -> None:
    with Store(path) as store:
        store.note_host("box", host_id="h-1")
        store.keep_cancels("box", ["j-1", "j-2"], "me")
        store.keep_cancels("box", ["j-1"], "somebody else")
        store.keep_cancels("never-met", ["j-3"], "me")
    with Store(path) as store:
        assert store.kept_cancels("box") == [
            KeptCancel("j-1", "box", "h-1", "me"),
            KeptCancel("j-2", "box", "h-1", "me"),
        ]
        assert [each.job for each in store.kept_cancels("another-name", "h-1")] == ["j-1", "j-2"]
        assert [each.host_id for each in store.kept_cancels("never-met")] == [None]
        store.rename_host("never-met", "met")
        store.drop_cancels(["j-1", "j-9"])
        assert [each.job for each in store.kept_cancels("box")] == ["j-2"]
        assert [each.job for each in store.kept_cancels("met")] == ["j-3"]


def test_a_store_of_before_gets_the_place_for_them(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE cancels")
        db.execute("PRAGMA user_version = 1")
    with Store(path) as store:
        store.keep_cancels("box", ["j-1"], "me")
        assert len(store.kept_cancels("box")) == 1
