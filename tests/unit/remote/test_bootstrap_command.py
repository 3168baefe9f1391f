"""The real command line, run by real login shells over every kind of host."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.errors import AgentError, UsageError
from orchestrator.remote.bootstrap import Greeting, command, handshake
from orchestrator.remote.local import LocalTransport
from orchestrator.remote.payload import payload

SHELLS = ["bash", "dash", "zsh", "fish", "tcsh"]
Start = Callable[..., Greeting]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home of 用户"
    made.mkdir()
    return made


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with what every host has and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env", "grep", "tail", "cat", *SHELLS):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


@pytest.fixture
def start(home: Path, tools: Path) -> Iterator[Start]:
    """Run the command through a login shell, with the places outside HOME that hold this machine's Python left out."""
    agent = payload()
    transports: list[LocalTransport] = []

    def run(shell: str, *, hint: str | None = None, path: str | None = None, **env: str) -> Greeting:
        line = command(hint, agent.digest, len(agent.wire), "serve")
        for place in ("/usr/local/bin/python3", "/usr/bin/python3", "/opt/conda", "/opt/miniconda3", "/root"):
            line = line.replace(f" {place}", " /nowhere")
        transport = LocalTransport(
            "gpu1",
            {"HOME": str(home), "SHELL": str(tools / shell), "PATH": path or str(tools), "LANG": "C.UTF-8", **env},
        )
        transports.append(transport)
        stream = transport.open_stream(f"exec {tools / shell} -c {quoted(line)}")
        return handshake(stream, agent, b"", host="gpu1")

    yield run
    for transport in transports:
        transport.close()


def quoted(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"


@pytest.mark.parametrize("shell", SHELLS)
def test_real_path(shell: str, home: Path) -> None:
    agent = payload()
    transport = LocalTransport("gpu1", {"HOME": str(home), "SHELL": shell, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    try:
        stream = transport.open_stream(
            f"exec {shell} -c {quoted(command(None, agent.digest, len(agent.wire), 'serve'))}"
        )
        assert handshake(stream, agent, b"").installed
    finally:
        transport.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_only_a_conda_python_in_home(shell: str, home: Path, start: Start) -> None:
    place = home / "miniconda3/bin/python3"
    place.parent.mkdir(parents=True)
    place.symlink_to(sys.executable)
    assert start(shell).installed
    assert not start(shell).installed


@pytest.mark.parametrize("shell", SHELLS)
def test_no_python_at_all(shell: str, start: Start) -> None:
    with pytest.raises(AgentError, match="has no Python that orch can find") as caught:
        start(shell, SHELL="/nonexistent")
    assert caught.value.code == "no_python"
    assert "3.8" in caught.value.hint


@pytest.mark.parametrize("shell", SHELLS)
def test_only_old_pythons(shell: str, tools: Path, start: Start) -> None:
    script(tools / "python3", '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.6.9" && exit\nexit 66\n')
    script(tools / "python", '#!/bin/sh\n[ "$1" = -V ] && echo "Python 2.7.18" >&2 && exit\nexit 2\n')
    with pytest.raises(AgentError, match="no Python new enough") as caught:
        start(shell, SHELL="/nonexistent")
    assert f"{tools}/python3 is 3.6.9, {tools}/python is 2.7.18; 3.8 is needed" in caught.value.message


def test_old_python_first_then_a_good_one(home: Path, tools: Path, start: Start) -> None:
    script(tools / "python3", "#!/bin/sh\nexit 66\n")
    script(tools / "python", "#!/bin/sh\nexit 126\n")
    (tools / "python3.9").symlink_to(sys.executable)
    assert start("bash").installed


@pytest.mark.parametrize("hint", ["~/my env/bin/python", "HOME/my env/bin/python", "special-python"])
def test_hint_comes_first(hint: str, home: Path, tools: Path, start: Start) -> None:
    place = tools / hint if hint == "special-python" else home / "my env/bin/python"
    marks = home / "used"
    script(place, f'#!/bin/sh\n: > "{marks}"\nexec {sys.executable} "$@"\n')
    (tools / "python3").symlink_to(sys.executable)
    assert start("bash", hint=hint.replace("HOME", str(home))).installed
    assert marks.exists()


@pytest.mark.parametrize("hint", ["it's", 'a"b', "a\\b", "wow!", "a\nb", "a\0b"])
def test_hint_that_cannot_be_quoted_is_refused(hint: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        command(hint, "0" * 64, 1, "serve")


@pytest.mark.parametrize(
    ("shell", "rc"),
    [("bash", ".bash_profile"), ("zsh", ".zprofile"), ("fish", ".config/fish/config.fish"), ("tcsh", ".cshrc")],
)
def test_python_only_on_the_login_shells_path(shell: str, rc: str, home: Path, tools: Path, start: Start) -> None:
    hidden, used = home / "hidden/bin", home / "used"
    script(hidden / "python3", f'#!/bin/sh\n: > "{used}"\nexec {sys.executable} "$@"\n')
    lines = {
        "fish": f'echo welcome PATH=lies\nset -x PATH "{hidden}" $PATH\n',
        "tcsh": f'echo welcome PATH=lies\nsetenv PATH "{hidden}:${{PATH}}"\n',
    }
    path = home / rc
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines.get(shell, f'echo welcome PATH=lies\nexport PATH="{hidden}:$PATH"\n'))
    # dash reads no rc file here, as a login that is not a login shell; only $SHELL tells where Python is.
    assert start("dash", SHELL=str(tools / shell)).installed
    assert used.exists()


def test_noise_before_the_marker_is_kept_apart(home: Path, tools: Path, start: Start) -> None:
    (tools / "python3").symlink_to(sys.executable)
    (home / ".zshenv").write_text("echo 'Welcome to \x1b[1mAutoDL'\nprintf 'ORCH1 ready'\n")
    greeting = start("zsh")
    assert greeting.installed
    assert greeting.noise == b"Welcome to \x1b[1mAutoDL\nORCH1 ready"


def test_one_line_without_what_some_shell_trips_over() -> None:
    agent = payload()
    line = command("~/x/python", agent.digest, len(agent.wire), "serve-bulk")
    assert not set('"\\!\n\r') & set(line)
    assert line.startswith("exec sh -c 'IFS=; set -f;")
    assert line.count("'") == 2 * 7
    # tcsh takes words up to a few KB; a server passes at most 128 KB as one argument.
    assert len(line) < 8_000


def test_payload_is_the_same_every_time_and_readable_only_by_its_owner(home: Path, tools: Path, start: Start) -> None:
    (tools / "python3").symlink_to(sys.executable)
    start("bash")
    installed = home / ".orch/agent" / payload().digest / str(sys.implementation.cache_tag)
    assert (installed / "__main__.py").is_file()
    assert (installed / "remote_payload/agent/wire/protocol.py").is_file()
    assert list((installed / "remote_payload/agent/wire/__pycache__").glob("protocol.*.pyc"))
    assert stat.S_IMODE((home / ".orch").stat().st_mode) == 0o700
    assert [entry.name for entry in installed.parent.iterdir()] == [installed.name]
