"""The whole command line behind logins of every kind: passwords, jump hosts, ssh_config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.loopback import make_key
from tests.harness.hosts import PASSWORD_ONLY, RealHost
from tests.harness.terminal import Terminal
from tests.harness.users import SystemUser

JOB = "jobs: {train: {run: 'echo from $(whoami); head -c 70000 /dev/zero > $ORCH_OUTPUT_DIR/zeros'}}\n"


@pytest.fixture(scope="module")
def user() -> Iterator[SystemUser]:
    with SystemUser("fish") as made:
        yield made


@pytest.fixture
def password_host(tmp_path: Path, user: SystemUser) -> Iterator[RealHost]:
    with RealHost(tmp_path, config=PASSWORD_ONLY, user=user) as host:
        yield host


def accepted(host: RealHost) -> list[str]:
    """How each connection logged in, from the server's log."""
    return re.findall(r"Accepted (\S+) for", host.server.log())


def test_a_password_from_the_environment(password_host: RealHost) -> None:
    assert password_host.user
    laptop = password_host.laptop(known=False)
    laptop.env["ORCH_PASSWORD_MY_BOX"] = password_host.user.password
    laptop.jobs_yaml(JOB)
    laptop.orch("host", "add", "my-box", password_host.login, "--accept-new")
    done = laptop.orch("submit")
    assert f"from {password_host.user.name}" in done.stdout
    laptop.orch("pull")
    (zeros,) = (laptop.folder / "results").rglob("zeros")
    assert zeros.read_bytes() == bytes(70000)
    assert set(accepted(password_host)) == {"password"}
    everything = "".join(p.read_text(errors="replace") for p in laptop.home.rglob("*") if p.is_file())
    assert password_host.user.password not in everything


def test_a_password_asked_once_on_a_terminal(password_host: RealHost) -> None:
    assert password_host.user
    laptop = password_host.laptop()
    laptop.orch("host", "add", "box", password_host.login, "--no-check")
    laptop.jobs_yaml(JOB)
    with Terminal(laptop, "submit") as terminal:
        terminal.wait_for(f"Password for {password_host.user.name} on 127.0.0.1:")
        terminal.press(password_host.user.password)
        terminal.press("enter")
        assert terminal.wait() == 0
        assert terminal.text().count("Password for") == 1
        assert password_host.user.password not in terminal.text()
        assert f"train │ from {password_host.user.name}" in terminal.text()


def test_without_a_password_the_hint_names_the_variable(password_host: RealHost) -> None:
    laptop = password_host.laptop()
    done = laptop.orch("host", "add", "gpu-box.2", password_host.login, code=3)
    assert "set ORCH_PASSWORD_GPU_BOX_2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_password_is_said_and_not_tried_again(password_host: RealHost) -> None:
    laptop = password_host.laptop()
    laptop.env["ORCH_PASSWORD_BOX"] = "wrong"
    done = laptop.orch("host", "add", "box", password_host.login, code=3)
    assert "refused the password" in done.stderr
    assert password_host.server.log().count("Failed password") == 1


def test_through_a_jump_host(tmp_path: Path) -> None:
    with RealHost(tmp_path / "bastion") as bastion, RealHost(tmp_path / "inner") as inner:
        laptop = inner.laptop(known=False)
        config = laptop.home / ".ssh" / "config"
        config.parent.mkdir()
        config.write_text(
            f"Host bastion\n HostName 127.0.0.1\n Port {bastion.port}\n User {bastion.user_name}\n"
            f" IdentityFile {bastion.key}\n IdentitiesOnly yes\n"
        )
        laptop.jobs_yaml(JOB)
        laptop.orch("host", "add", "box", inner.login.replace("ssh ", "ssh -J bastion "), "--accept-new")
        assert "from " in laptop.orch("submit").stdout
        laptop.orch("pull")
        (zeros,) = (laptop.folder / "results").rglob("zeros")
        assert zeros.read_bytes() == bytes(70000)
        # Both keys are on record: nobody was trusted unseen.
        known = (laptop.home / "orch" / "known_hosts").read_text()
        assert known.count("\n") == 2
        assert all(one.server.public_key() in known for one in (bastion, inner))


def test_a_key_that_is_installed_opens_the_host_from_then_on(tmp_path: Path, user: SystemUser) -> None:
    (user.home / ".ssh").mkdir(mode=0o700)
    config = ["PasswordAuthentication yes", "AuthorizedKeysFile .ssh/authorized_keys"]
    with RealHost(tmp_path, config=config, user=user) as host:
        laptop = host.laptop()
        laptop.orch("host", "add", "box", host.login, "--no-check")
        (user.home / ".ssh" / "authorized_keys").write_text(make_key(tmp_path / "another"))
        user.own(user.home / ".ssh")
        laptop.orch("host", "key", "box", env={"ORCH_PASSWORD_BOX": user.password})
        assert laptop.orch("exec", "box", "--", "whoami").stdout == f"{user.name}\n"
        assert accepted(host) == ["password", "publickey"]
