"""Which host, and which boot of it."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine import identity
from remote_payload.agent.machine.identity import boot_identity, host_id, machine_id


def test_machine_id_is_looked_for_in_both_places(tmp_path: Path) -> None:
    assert machine_id(str(tmp_path)) == ""
    old = tmp_path / "var/lib/dbus/machine-id"
    old.parent.mkdir(parents=True)
    old.write_text("0123abcd\n")
    assert machine_id(str(tmp_path)) == "0123abcd"
    new = tmp_path / "etc/machine-id"
    new.parent.mkdir()
    new.write_text("uninitialized\n")
    assert machine_id(str(tmp_path)) == "0123abcd"
    new.write_text("feed\n")
    assert machine_id(str(tmp_path)) == "feed"


def test_boot_identity_counts_fields_after_the_name(tmp_path: Path) -> None:
    assert boot_identity(str(tmp_path)) == {"id": "", "pid1_start": ""}
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b00t\n")
    numbers = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "proc/1/stat").write_text(f"1 (a) b (c d) S {numbers}\n")
    assert boot_identity(str(tmp_path)) == {"id": "b00t", "pid1_start": "22"}


def test_this_machine_is_the_same_twice() -> None:
    assert host_id(None) == host_id(None)
    assert re.fullmatch("h-[0-9a-f]{16}", host_id(None))
    assert boot_identity() == boot_identity()


def test_what_the_profile_prints_is_the_identity() -> None:
    one = host_id(["sh", "-c", "echo autodl-container-1"])
    assert one == host_id(["printf", "autodl-container-1"])
    assert len({one, host_id(["echo", "autodl-container-2"]), host_id(None)}) == 3


@pytest.mark.parametrize("argv", [["/no/such/program"], ["true"], ["sh", "-c", "no-such-program"]])
def test_a_profile_that_does_not_fit_falls_back(argv: list[str]) -> None:
    assert host_id(argv) == host_id(None)


def test_a_machine_id_shared_by_an_image_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = host_id(None)
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert host_id(None) != mine


def test_a_failing_command_never_makes_a_second_id(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentFault) as failed:
        host_id(["sh", "-c", "echo out of order >&2; exit 5"])
    assert failed.value.code == "internal"
    assert "out of order" in failed.value.message
    monkeypatch.setattr(identity, "IDENTITY_TIMEOUT", 0.2)
    with pytest.raises(AgentFault, match="within"):
        host_id(["sleep", "60"])
