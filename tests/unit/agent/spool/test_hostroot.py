from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.hostroot import Spool, adopt, foreign_spools, open_spool, require_own
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


def test_a_copied_disk_is_another_hosts_until_it_is_adopted(tmp_path: Path) -> None:
    mine = opened(tmp_path / "home", tmp_path / "data")
    spool = opened(tmp_path / "other", tmp_path / "data", who="clone")
    assert spool.moved and spool.owner == mine.host_id != spool.host_id
    with pytest.raises(AgentFault) as caught:
        require_own(spool.paths, spool.host_id)
    assert caught.value.code == "moved" and "orch host adopt" in (caught.value.hint or "")
    assert not adopt(spool, None, "me", str(tmp_path / "other")).moved
    assert not opened(tmp_path / "other", tmp_path / "data", who="clone").moved
    require_own(spool.paths, spool.host_id)
    assert opened(tmp_path / "home", tmp_path / "data").moved, "one host at a time"


def test_a_shared_or_copied_home_brings_queues_of_others_along(tmp_path: Path) -> None:
    first = opened(tmp_path)
    second = opened(tmp_path, who="clone")
    assert not second.moved and second.paths.root != first.paths.root
    assert foreign_spools(second, str(tmp_path)) == [(first.host_id, first.paths.root)]
    taken = adopt(second, first.host_id, "me", str(tmp_path))
    assert taken.paths.root == first.paths.root
    assert opened(tmp_path, who="clone").paths.root == first.paths.root
    assert opened(tmp_path).moved, "who came back finds its queue taken over"
    assert foreign_spools(taken, str(tmp_path)) == []


def test_a_queue_in_use_is_not_given_up_for_another(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path, who="clone")
    Path(second.paths.submits, "s-abcd.json").write_text("{}")
    for wanted, code in ((first.host_id, "conflict"), ("h-none", "not_found")):
        with pytest.raises(AgentFault) as caught:
            adopt(second, wanted, "me", str(tmp_path))
        assert caught.value.code == code


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
