from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    assert atomic.read_json(path) is None
    atomic.write_json(path, {"name": "a\udcff", "n": 1})
    assert atomic.read_json(path) == {"name": "a\udcff", "n": 1}
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "[]", "null", "\x00", "é", "[" * 100_000])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    if text == "null":
        assert atomic.read_json(str(path)) is None
        return
    with pytest.raises(AgentFault) as caught:
        atomic.read_json(str(path))
    assert str(path) in caught.value.message


def test_a_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(atomic.SpoolFileError):
        atomic.read_json(str(tmp_path))


def test_only_one_of_many_creates(tmp_path: Path) -> None:
    path = str(tmp_path / "cancel.json")
    won: list[int] = []

    def create(number: int) -> None:
        if atomic.create_json(path, {"by": number}):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert atomic.read_json(path) == {"by": won[0]}
    assert os.listdir(tmp_path) == ["cancel.json"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        atomic.write_json(str(tmp_path / "none" / "x.json"), {})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "full").touch()
    with pytest.raises(OSError):
        atomic.write_json(str(tmp_path / "folder"), {})
    assert sorted(os.listdir(tmp_path)) == ["folder"]


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.booleans(), st.integers(), st.text())))
def test_every_cut_of_a_file_is_refused(value: dict[str, object]) -> None:
    whole = atomic.encode(value)
    for size in range(len(whole) - 1):
        with pytest.raises(ValueError):
            json.loads(whole[:size].decode())
