"""Whether processes end at logout: logind.conf(5) and what loginctl prints, read the way logind does."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_payload.agent.machine.logind import (
    Logout,
    ends_processes_of,
    logout,
    outside_session,
    read_settings,
    settings_of,
)

SHOWN = "EnableWallMessages=no\nNAutoVTs=6\nKillUserProcesses=yes\nKillOnlyUsers=\nKillExcludeUsers=root ada\n"


def test_the_managers_own_words_are_read() -> None:
    assert settings_of(SHOWN) == {"KillUserProcesses": "yes", "KillOnlyUsers": "", "KillExcludeUsers": "root ada"}


@pytest.mark.parametrize(
    ("text", "user", "ends"),
    [
        ("", "bob", False),
        ("[Login]\n#KillUserProcesses=yes\n", "bob", False),
        ("[Login]\nKillUserProcesses=yes\n", "bob", True),
        ("[Login]\nKillUserProcesses = TRUE\n", "bob", True),
        ("[Login]\nKillUserProcesses=yes\nKillUserProcesses=no\n", "bob", False),
        ("[Other]\nKillUserProcesses=yes\n", "bob", False),
        ("[Login]\nKillUserProcesses=yes\n", "root", False),
        ("[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n", "root", True),
        ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=eve bob\n", "bob", True),
        ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=eve\n", "bob", False),
        ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\nKillExcludeUsers=bob\n", "bob", False),
        (SHOWN, "ada", False),
        (SHOWN, "bob", True),
    ],
)
def test_who_loses_processes(text: str, user: str, ends: bool) -> None:
    assert ends_processes_of(user, settings_of(text)) is ends


def test_drop_ins_count_after_the_main_file_and_etc_hides_usr(tmp_path: Path) -> None:
    def write(path: str, value: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"[Login]\nKillUserProcesses={value}\n")

    write("usr/lib/systemd/logind.conf", "yes")
    assert read_settings(str(tmp_path)) == {"KillUserProcesses": "yes"}
    write("etc/systemd/logind.conf", "no")
    assert read_settings(str(tmp_path)) == {"KillUserProcesses": "no"}
    write("usr/lib/systemd/logind.conf.d/20-site.conf", "yes")
    assert read_settings(str(tmp_path)) == {"KillUserProcesses": "yes"}
    write("etc/systemd/logind.conf.d/20-site.conf", "no")
    assert read_settings(str(tmp_path)) == {"KillUserProcesses": "no"}


def test_a_host_as_a_whole(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "etc/systemd").mkdir(parents=True)
    (tmp_path / "etc/systemd/logind.conf").write_text("[Login]\nKillUserProcesses=yes\n")
    assert logout("bob", str(tmp_path), str(tools)) is None, "systemd does not run"
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert logout("bob", str(tmp_path), str(tools)) == Logout(True, False)
    (tmp_path / "var/lib/systemd/linger").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/linger/bob").touch()
    assert logout("bob", str(tmp_path), str(tools)) == Logout(True, True)
    loginctl = tools / "loginctl"
    loginctl.write_text("#!/bin/sh\necho KillUserProcesses=no\n")
    loginctl.chmod(0o755)
    assert logout("bob", str(tmp_path), str(tools)) == Logout(False, True), "the running manager knows best"


def test_a_keeper_leaves_the_session_only_where_that_helps() -> None:
    assert outside_session(None, 1000) == outside_session(Logout(False, True), 1000) == ([], {})
    assert outside_session(Logout(True, False), 1000) == ([], {}), "without lingering that scope ends too"
    prefix, env = outside_session(Logout(True, True), 1000)
    assert prefix[:3] == ["systemd-run", "--user", "--scope"] and env == {"XDG_RUNTIME_DIR": "/run/user/1000"}
