"""install.py: only what is missing, and never another PyTorch."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from remote_payload.train import install


def test_only_what_cannot_be_imported_is_asked_for() -> None:
    assert install.missing({"json": "json", "no_such_module_here": "some-package"}) == ["some-package"]


def test_what_is_there_of_torch_and_numpy_is_kept() -> None:
    lines = install.constraints()
    assert f"torch=={version('torch')}" in lines
    assert f"numpy=={version('numpy')}" in lines


def test_with_everything_there_pip_is_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "pip_install", lambda requirements: pytest.fail("pip was run"))
    assert install.main() == 0
    assert "nothing to install" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("needed", "wanted", "codes", "exit_code", "asked"),
    [
        (["torch"], ["wandb"], [0], 0, [["torch", "wandb"]]),
        (["torch"], ["wandb"], [1, 0], 0, [["torch", "wandb"], ["torch"]]),
        (["torch"], ["wandb"], [1, 1], 1, [["torch", "wandb"], ["torch"]]),
        ([], ["wandb"], [1], 0, [["wandb"]]),
        (["torch"], [], [1], 1, [["torch"]]),
    ],
)
def test_wandb_is_only_a_wish(
    monkeypatch: pytest.MonkeyPatch,
    needed: list[str],
    wanted: list[str],
    codes: list[int],
    exit_code: int,
    asked: list[list[str]],
) -> None:
    seen: list[list[str]] = []

    def pip_install(requirements: list[str]) -> int:
        seen.append(list(requirements))
        return codes[len(seen) - 1]

    monkeypatch.setattr(install, "pip_install", pip_install)
    monkeypatch.setattr(install, "missing", lambda packages: needed if packages is install.NEEDED else wanted)
    assert install.main() == exit_code
    assert seen == asked


def test_pip_gets_the_constraints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Real pip, no network: asked for another torch than the one that is kept, it must refuse.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    code = install.pip_install(["torch==1.0"])
    assert code != 0


def test_it_runs_by_itself_as_a_script() -> None:
    script = Path(install.__file__)
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("nothing to install")
