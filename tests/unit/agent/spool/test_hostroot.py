from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.hostroot import Spool, open_spool
from remote_payload.agent.spool.workdir import remove_tree


def opened(home: Path, root: Path | None = None, who: str = "box") -> Spool:
    profile = {"name": "auto", "identity": ["echo", who], "root": None if root is None else str(root)}
    return open_spool(profile, str(home))


def code_of(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(AgentFault) as caught:
        opened(*args, **kwargs)
    assert caught.value.hint
    return caught.value.code


def test_made_once_and_found_again(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert first.paths.root == str(tmp_path / ".orch/hosts" / first.host_id / "spool")
    assert os.stat(first.paths.root).st_mode & 0o777 == 0o700
    assert all(os.path.isdir(folder) for folder in first.paths.folders())
    assert opened(tmp_path).paths.root == first.paths.root
    assert (atomic.read_json(first.paths.profile) or {})["name"] == "auto"


def test_the_first_root_stays(tmp_path: Path) -> None:
    first = opened(tmp_path / "home", tmp_path / "data")
    assert first.paths.root == str(tmp_path / "data")
    assert opened(tmp_path / "home", tmp_path / "other").paths.root == first.paths.root
    assert not (tmp_path / "other").exists()


def test_a_disk_that_is_not_mounted_makes_no_second_queue(tmp_path: Path) -> None:
    opened(tmp_path / "home", tmp_path / "data")
    remove_tree(str(tmp_path / "data"))
    assert code_of(tmp_path / "home", tmp_path / "data") == "root_missing"
    (tmp_path / "data").mkdir()
    assert code_of(tmp_path / "home", tmp_path / "data") == "root_missing"


def test_a_copied_disk_is_another_hosts(tmp_path: Path) -> None:
    opened(tmp_path / "home", tmp_path / "data")
    assert code_of(tmp_path / "other", tmp_path / "data", who="clone") == "moved"
    assert code_of(tmp_path / "other", tmp_path / "data", who="clone") == "moved"


def test_another_layout_is_refused(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    Path(spool.paths.version).write_text("2\n")
    assert code_of(tmp_path) == "spool_version"


@pytest.mark.parametrize("root", ["relative", 7, ""])
def test_a_root_is_an_absolute_path(tmp_path: Path, root: Any) -> None:
    with pytest.raises(AgentFault) as caught:
        open_spool({"identity": ["echo", "x"], "root": root}, str(tmp_path))
    assert caught.value.code == "bad_request"


def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert code_of(tmp_path / "home", tmp_path / "file/spool") == "refused"


def test_two_controllers_at_once_make_one(tmp_path: Path) -> None:
    found: list[Spool] = []
    threads = [threading.Thread(target=lambda: found.append(opened(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({(one.paths.root, one.host_id) for one in found}) == 1
