"""Autostart: whichever way a host offers, one line of ours in it, and nothing of anybody else's lost."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from remote_payload.agent.run.autostart import Place, boot_command, cron_line, switch, with_line
from remote_payload.agent.spool.paths import SpoolPaths

CRONTAB = """#!/bin/sh
if [ "$1" = -l ]; then [ -e {0} ] && exec cat {0}; echo "no crontab for me" >&2; exit 1; fi
exec cp "$1" {0}
"""


class Host:
    """A home, a spool, and the programs that are on PATH."""

    def __init__(self, folder: Path) -> None:
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.tab, self.hook, self.told = folder / "tab", folder / "onstart.sh", folder / "told"
        self.place = Place(SpoolPaths(str(folder / "a spool")), "h-1", str(self.hook), str(folder / "home"))
        self.unit = Path(self.place.unit)

    def program(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def cron(self) -> None:
        self.program("crontab", CRONTAB.format(shlex.quote(str(self.tab))))

    def systemd(self, ends: int = 0) -> None:
        for name in ("systemctl", "loginctl"):
            self.program(name, f'#!/bin/sh\necho {name} "$@" >> {shlex.quote(str(self.told))}\nexit {ends}\n')


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    for name in ("cat", "cp", "sh"):
        (made.tools / name).symlink_to(next(p for p in map(Path, ("/bin", "/usr/bin")) if (p / name).exists()) / name)
    monkeypatch.setenv("PATH", str(made.tools))
    return made


def test_a_crontab_keeps_every_other_line(host: Host) -> None:
    host.cron()
    mine = "MAILTO=me\n# my own\n@reboot /home/me/x 50%\n0 3 * * * backup"
    host.tab.write_text(mine)
    for _ in range(2):
        said = switch(host.place, True)
        assert said["kind"] == "crontab" and "crontab" in said["sentence"]
    line = cron_line(boot_command(host.place.paths.root), host.place.mark)
    assert host.tab.read_text() == f"{mine}\n{line}\n"
    assert switch(host.place, False)["kind"] == "crontab"
    assert host.tab.read_text() == f"{mine}\n"
    assert switch(host.place, False)["kind"] == "none"
    assert not os.path.exists(host.place.note)


def test_the_first_crontab(host: Host) -> None:
    host.cron()
    assert switch(host.place, True)["kind"] == "crontab"
    assert host.tab.read_text().count("@reboot") == 1


def test_a_crontab_that_cannot_be_read_is_left_alone(host: Host) -> None:
    host.program("crontab", "#!/bin/sh\necho 'You are not allowed to use this program (crontab)' >&2\nexit 1\n")
    said = switch(host.place, True)
    assert said["kind"] == "none" and "not allowed" in said["sentence"]
    assert not host.tab.exists()


def test_a_boot_hook_comes_first_and_keeps_its_text_and_mode(host: Host) -> None:
    host.cron()
    switch(host.place, True)
    theirs = b"#!/bin/bash\nsshd\r\n\xff# theirs\nsleep infinity"
    host.hook.write_bytes(theirs)
    host.hook.chmod(0o755)
    for _ in range(2):
        assert switch(host.place, True)["kind"] == "boot_hook"
    head, ours, *rest = host.hook.read_bytes().split(b"\n")
    assert b"\n".join([head, *rest]) == theirs
    assert ours.startswith(b"( ") and ours.endswith(b"& ) # orch autostart h-1")
    assert host.hook.stat().st_mode & 0o777 == 0o755
    assert "@reboot" not in host.tab.read_text(), "one place only"
    switch(host.place, False)
    assert host.hook.read_bytes() == theirs


def test_a_systemd_unit_where_there_is_no_crontab(host: Host) -> None:
    host.systemd()
    assert switch(host.place, True)["kind"] == "systemd"
    unit = host.unit.read_text()
    assert "KillMode=process" in unit and f"ExecStart={boot_command(host.place.paths.root)}" in unit
    told = host.told.read_text()
    assert "systemctl --user enable orch-keeper-h-1.service" in told and "loginctl enable-linger" in told
    assert switch(host.place, False)["kind"] == "systemd"
    assert not host.unit.exists()
    assert "systemctl --user disable orch-keeper-h-1.service" in host.told.read_text()


def test_a_host_that_offers_nothing(host: Host) -> None:
    host.systemd(ends=1)
    said = switch(host.place, True)
    assert said["kind"] == "none" and "no crontab" in said["sentence"]
    assert not host.unit.exists()


def test_lines() -> None:
    assert cron_line("run 50%", "# m") == "@reboot run 50\\% >/dev/null 2>&1 # m"
    assert with_line("a\nours # m\nb", "# m", "new # m") == "a\nb\nnew # m\n"
    assert with_line("a # mine\n", "# m", None) == "a # mine\n"
