"""hosts.yaml: people edit it by hand, several orchs write it, and it is never half there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, UsageError
from orchestrator.hosts.inventory import HostEntry, Inventory

LINE = "ssh -p 38076 root@connect.example.com"


def test_what_is_put_is_listed_in_order(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    assert inventory.list() == []
    box = HostEntry("box", LINE, "autodl", ("4090", "fast"), "/data/.orch", "/opt/python3")
    inventory.put(box)
    inventory.put(HostEntry("here", "local"))
    assert inventory.list() == [box, HostEntry("here", "local")]
    assert Inventory(tmp_path).get("box") == box
    if os.name == "posix":
        assert stat.S_IMODE(inventory.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts.lock", "hosts.yaml"]


def test_no_host_at_all_names_the_line_to_type(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path / "not there yet")
    with pytest.raises(UsageError) as caught:
        inventory.require_any()
    assert caught.value.exit_code == 2
    assert 'orch host add box "ssh -p 38076 root@connect.example.com"' in caught.value.hint
    with pytest.raises(UsageError, match="no host is known yet"):
        inventory.get("box")


def test_an_unknown_host_gets_the_nearest(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    inventory.put(HostEntry("workstation", LINE))
    with pytest.raises(UsageError, match=r"no host is called 'workstaton'; did you mean 'workstation'\?"):
        inventory.get("workstaton")
    with pytest.raises(UsageError, match=r"no host is called 'zzz'$"):
        inventory.remove("zzz")


def test_the_same_login_with_a_new_port_refreshes(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    inventory.put(HostEntry("box", LINE, "autodl", ("a",)))
    inventory.put(HostEntry("box", "ssh -p 40000 root@Connect.example.com"))
    assert inventory.list() == [HostEntry("box", "ssh -p 40000 root@Connect.example.com", "autodl", ("a",))]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (HostEntry("box", "ssh root@elsewhere"), "box is the name of another host already"),
        (HostEntry("box", "local"), "box is the name of another host already"),
        (HostEntry("1box", LINE), "a host cannot be called '1box'"),
        (HostEntry("a/b", LINE), "a host cannot be called"),
        (HostEntry("any", LINE), "means something in jobs.yaml"),
        (HostEntry("new", LINE, "autodll"), "no profile is called 'autodll'; did you mean 'autodl'?"),
        (HostEntry("new", LINE, tags=("a b",)), "'a b' cannot be a tag"),
        (HostEntry("new", LINE, root="data"), "the root 'data' is not an absolute path"),
        (HostEntry("new", "root:pw@h"), "a password stands in the login line"),
    ],
)
def test_what_cannot_be_added(tmp_path: Path, entry: HostEntry, sentence: str) -> None:
    inventory = Inventory(tmp_path)
    inventory.put(HostEntry("box", LINE))
    before = inventory.path.read_bytes()
    for act in (inventory.check_new, inventory.put):
        with pytest.raises(UsageError) as caught:
            act(entry)
        assert sentence in caught.value.message
    assert inventory.path.read_bytes() == before


EDITED = """\
# my machines
box:        # the fast one
  ssh: "ssh root@a"   # pasted
  tags: [x]
# the old one
old:
  ssh: ssh b

# end
"""


def test_comments_and_order_stay(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    inventory.path.write_text(EDITED, encoding="utf-8")
    inventory.put(HostEntry("new", "ssh c"))
    inventory.put(HostEntry("box", "ssh -p 9 root@a"))
    text = inventory.path.read_text(encoding="utf-8")
    for comment in ("# my machines", "# the fast one", "# pasted", "# the old one", "# end"):
        assert comment in text
    assert [entry.name for entry in inventory.list()] == ["box", "old", "new"]


def test_rename_keeps_place_and_content(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    inventory.path.write_text(EDITED, encoding="utf-8")
    inventory.rename("box", "fast")
    assert [entry.name for entry in inventory.list()] == ["fast", "old"]
    assert inventory.get("fast") == HostEntry("fast", "ssh root@a", tags=("x",))
    assert "# the fast one" in inventory.path.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="old is the name of another host already"):
        inventory.rename("fast", "old")
    with pytest.raises(UsageError, match="cannot be called"):
        inventory.rename("fast", "-x")


def test_remove_to_nothing_and_begin_again(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    inventory.put(HostEntry("box", LINE))
    inventory.remove("box")
    assert inventory.list() == []
    inventory.put(HostEntry("box", "ssh elsewhere"))
    assert [entry.ssh for entry in inventory.list()] == ["ssh elsewhere"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("box:\n  shs: h\n", "2:3: unknown key 'shs' in host 'box'; did you mean 'ssh'?"),
        ("box:\n", "1:1: host 'box' has no `ssh`"),
        ("box: {ssh: h, password: x}\n", "1:15: a password may not stand in a file"),
        ("box: {ssh: 'root:x@h'}\n", "1:12: a password stands in the login line"),
        ("box: [\n", "this is not YAML"),
        ("a b: {ssh: h}\n", "1:1: 'a b' cannot be the name of a host"),
        ("any: {ssh: h}\n", "1:1: 'any' cannot be the name of a host"),
    ],
)
def test_a_file_spoilt_by_hand_is_one_sentence_and_is_not_rewritten(tmp_path: Path, text: str, sentence: str) -> None:
    inventory = Inventory(tmp_path)
    inventory.path.write_text(text, encoding="utf-8")
    for act in (inventory.list, lambda: inventory.put(HostEntry("new", "ssh h"))):
        with pytest.raises(ConfigError) as caught:
            act()
        assert sentence in caught.value.message
    assert inventory.path.read_text(encoding="utf-8") == text


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator.hosts.inventory import *; "
        "[Inventory(Path(sys.argv[1])).put(HostEntry(f'h{sys.argv[2]}{n}', f'ssh h{n}')) for n in range(5)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(Inventory(tmp_path).list()) == 15
