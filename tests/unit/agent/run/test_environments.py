"""Which Python a job runs with, on homes laid out as conda and venv lay them out."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

import pytest

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.run import environments
from remote_payload.agent.run.environments import Resolved, list_conda, resolve_python
from remote_payload.agent.wire.messages import PythonSpec

HERE = "{}.{}.{}".format(*sys.version_info[:3])


class Home:
    """A home folder that is HOME, with nothing of this machine's around it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def python(self, prefix: Path) -> Path:
        """Put an interpreter into a prefix: a script that starts the real one, but says it lives here."""
        where = prefix / "bin" / "python"
        where.parent.mkdir(parents=True, exist_ok=True)
        patched = "import sys; sys.prefix = sys.base_prefix = {!r}; sys.executable = {!r}; exec(sys.argv.pop(1))"
        start = patched.format(str(prefix), str(where)).replace('"', '\\"')
        note = f'echo called >> "{self.path}/calls"'
        where.write_text(f'#!/bin/sh\n{note}\n[ "$1" = -c ] && shift\nexec "{sys.executable}" -c "{start}" "$@"\n')
        where.chmod(0o755)
        return where

    def conda(self, name: str = "miniconda3", *envs: str) -> Path:
        root = self.path / name
        self.env(root)
        hook = root / "etc" / "profile.d" / "conda.sh"
        hook.parent.mkdir(parents=True)
        hook.write_text("conda() { :; }\n")
        for env in envs:
            self.env(root / "envs" / env)
        return root

    def env(self, prefix: Path) -> Path:
        (prefix / "conda-meta").mkdir(parents=True)
        self.python(prefix)
        return prefix

    def calls(self) -> int:
        calls = self.path / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    path = tmp_path / "a home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("SHELL", "/bin/false")
    for name in ("CONDA_EXE", "CONDA_ENVS_PATH", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environments, "SYSTEM_CONDA", ())
    monkeypatch.setattr(environments, "MORE_CONDA", ())
    monkeypatch.setattr(environments, "_probes", {})
    return Home(path)


def fault(spec: PythonSpec, roots: tuple[str, ...] = ()) -> AgentFault:
    with pytest.raises(AgentFault) as raised:
        resolve_python(spec, roots)
    return raised.value


def test_a_named_environment(home: Home) -> None:
    root = home.conda("miniconda3", "py310", "other")
    found = resolve_python({"kind": "conda", "name": "py310"})
    prefix = root / "envs" / "py310"
    assert found[:6] == ("conda", str(prefix), str(prefix / "bin" / "python"), HERE, str(root), "py310")


def test_base_and_a_root_of_the_profile(home: Home) -> None:
    home.conda("anaconda3", "mine")
    odd = home.conda("data/conda", "mine")
    found = resolve_python({"kind": "conda", "name": "mine"}, ["~/data/conda"])
    assert found.conda_root == str(odd)
    base = resolve_python({"kind": "conda", "name": "base"}, ["$HOME/data/conda"])
    assert (base.prefix, base.conda_root, base.conda_env) == (str(odd), str(odd), "base")


def test_conda_exe_names_a_root(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    root = home.conda("somewhere/conda", "x")
    monkeypatch.setenv("CONDA_EXE", str(root / "bin" / "conda"))
    assert [env["name"] for env in list_conda()] == ["base", "x"]


def test_an_environment_made_by_prefix_is_found_by_condas_own_list(home: Home) -> None:
    root = home.conda()
    prefix = home.env(home.path / "autodl-tmp" / "envs" / "far")
    (home.path / ".conda").mkdir()
    (home.path / ".conda" / "environments.txt").write_text(f"{root}\n/gone/env\nnot a path\n{prefix}\n")
    assert list_conda() == [{"name": "base", "prefix": str(root)}, {"name": "far", "prefix": str(prefix)}]
    found = resolve_python({"kind": "conda", "name": "far"})
    assert (found.conda_root, found.conda_env) == (str(root), str(prefix))
    assert resolve_python({"kind": "conda", "name": str(prefix)}) == found


def test_environments_of_a_shared_root_lie_in_the_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    root = home.conda("shared")
    monkeypatch.setattr(environments, "SYSTEM_CONDA", (str(root),))
    mine = home.env(home.path / ".conda" / "envs" / "mine")
    more = home.env(home.path / "disk" / "more")
    monkeypatch.setenv("CONDA_ENVS_PATH", str(home.path / "disk"))
    assert [env["prefix"] for env in list_conda()] == [str(root), str(mine), str(more)]
    assert resolve_python({"kind": "conda", "name": "mine"}).conda_env == str(mine)


def test_a_name_that_does_not_exist_is_answered_with_those_that_do(home: Home) -> None:
    home.conda("miniconda3", "pytorch", "py310", "tensorflow")
    told = fault({"kind": "conda", "name": "pytroch"})
    assert told.code == "not_found"
    assert told.message == "conda environment 'pytroch' does not exist on this host"
    assert told.hint == "it has: pytorch, base, py310, tensorflow"


def test_no_conda_at_all(home: Home) -> None:
    assert "no conda was found" in fault({"kind": "conda", "name": "x"}).hint
    assert "no conda was found" in fault({"kind": "conda", "name": "/no/such/env"}).hint


def test_many_names_are_cut(home: Home) -> None:
    home.conda("miniconda3", *(f"env{number}" for number in range(30)))
    assert fault({"kind": "conda", "name": "zzz"}).hint.endswith(", …")


def test_an_environment_without_python(home: Home) -> None:
    root = home.conda()
    (root / "envs" / "bare" / "conda-meta").mkdir(parents=True)
    told = fault({"kind": "conda", "name": "bare"})
    assert "has no Python" in told.message
    assert "conda install" in told.hint


def test_a_venv(home: Home) -> None:
    place = home.path / "my venv"
    venv.create(place, with_pip=False, symlinks=True)
    found = resolve_python({"kind": "venv", "path": "~/my venv"})
    assert found == Resolved("venv", str(place), str(place / "bin" / "python"), HERE, "", "", True, False)


def test_what_is_no_venv_is_told_apart(home: Home) -> None:
    root = home.conda("miniconda3", "x")
    assert fault({"kind": "venv", "path": "~/none"}).hint.startswith("no such folder")
    (home.path / "empty").mkdir()
    assert "pyvenv.cfg" in fault({"kind": "venv", "path": "~/empty"}).hint
    assert "{conda: x}" in fault({"kind": "venv", "path": str(root / "envs" / "x")}).hint
    assert fault({"kind": "venv", "path": ".venv"}).code == "bad_request"
    assert fault({"kind": "venv"}).code == "bad_request"


def test_a_path(home: Home) -> None:
    python = home.python(home.path / "opt")
    found = resolve_python({"kind": "path", "path": "$HOME/opt/bin/python"})
    assert (found.kind, found.python, found.prefix) == ("path", str(python), str(home.path / "opt"))
    assert fault({"kind": "path", "path": "~/opt"}).code == "not_found"
    assert fault({"kind": "path", "path": "python3"}).code == "bad_request"
    python.chmod(0o644)
    assert fault({"kind": "path", "path": str(python)}).code == "refused"


@pytest.mark.parametrize(
    "body", ["echo something else", "echo 'ORCH-PYTHON {}'", "echo 'ORCH-PYTHON nonsense'", "exit 3"]
)
def test_a_program_that_is_no_python(home: Home, body: str) -> None:
    python = home.path / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    told = fault({"kind": "path", "path": str(python)})
    assert told.code == "refused"
    assert "does not work as a Python" in told.message


def test_an_interpreter_is_asked_once_until_it_changes(home: Home) -> None:
    python = home.python(home.path / "opt")
    spec: PythonSpec = {"kind": "path", "path": str(python)}
    assert resolve_python(spec) == resolve_python(spec)
    assert home.calls() == 1
    os.utime(python, ns=(1, 1))
    resolve_python(spec)
    assert home.calls() == 2


def test_auto_takes_conda_base_in_the_order_of_the_contract(home: Home) -> None:
    home.conda("miniforge3")
    mini = home.conda("miniconda3")
    profile = home.conda("profile/conda")
    assert resolve_python({"kind": "auto"})[:3] == ("conda", str(mini), str(mini / "bin" / "python"))
    assert resolve_python({}, [str(home.path / "gone"), str(profile)]).conda_root == str(profile)


def test_auto_asks_the_login_shell_and_passes_over_what_it_prints(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    python = home.python(home.path / "modules" / "python3.12")
    python.rename(python.with_name("python3"))
    shell = home.path / "shell"
    shell.write_text(f'#!/bin/sh\necho Welcome\necho "{python.with_name("python3")}"\necho bye\n')
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    found = resolve_python({"kind": "auto"})
    assert (found.kind, found.prefix) == ("system", str(python.parent.parent))


def test_auto_in_a_login_shell_that_hangs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = home.path / "shell"
    shell.write_text("#!/bin/sh\nexec sleep 60\n")
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    monkeypatch.setattr(environments, "LOGIN_SHELL_TIMEOUT", 0.2)
    assert resolve_python({"kind": "auto"}).version == HERE


def test_auto_tells_an_activated_environment_from_a_system_python(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    conda = home.env(home.path / "mamba" / "envs" / "x")
    (conda / "bin" / "python3").symlink_to("python")
    monkeypatch.setenv("PATH", f"{conda}/bin{os.pathsep}{os.environ['PATH']}")
    found = resolve_python({"kind": "auto"})
    assert (found.kind, found.prefix, found.conda_root, found.conda_env) == ("conda", str(conda), "", str(conda))
    place = home.path / "v"
    venv.create(place, with_pip=False, symlinks=True)
    monkeypatch.setenv("PATH", f"{place}/bin{os.pathsep}{os.environ['PATH']}")
    assert resolve_python({"kind": "auto"})[:2] == ("venv", str(place))


def test_auto_falls_back_to_the_agents_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home.path))
    assert resolve_python({"kind": "auto"}).version == HERE
    monkeypatch.setattr(sys, "executable", "")
    assert fault({"kind": "auto"}).code == "not_found"


def test_a_python_that_belongs_to_the_system(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n")
    probe = environments._Probe("3.12.3", "/usr", "/usr", "/usr/bin/python3", str(tmp_path / "absent"), str(tmp_path))
    monkeypatch.setattr(environments, "_ask", lambda python: probe)
    found = resolve_python({"kind": "path", "path": sys.executable})
    assert (found.writable, found.externally_managed) == (False, True)
    monkeypatch.setattr(environments, "_probes", {})
    monkeypatch.setattr(environments, "_ask", lambda python: probe._replace(prefix="/a/venv", site=str(tmp_path)))
    found = resolve_python({"kind": "path", "path": sys.executable})
    assert (found.writable, found.externally_managed) == (True, False)


def test_an_unknown_kind(home: Home) -> None:
    assert fault({"kind": "pipx"}).code == "bad_request"


def test_a_folder_that_looks_like_conda_but_is_none(home: Home) -> None:
    (home.path / "miniconda3" / "bin").mkdir(parents=True)
    home.python(home.path / "anaconda3")
    assert list_conda(["relative/conda", "", "~nobody/x"]) == []
