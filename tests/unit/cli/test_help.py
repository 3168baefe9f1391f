"""Help is light and whole: nothing heavy is imported for it, and every verb and option says what it does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer.main

from orchestrator.cli.main import app

HEAVY = ("fabric", "paramiko", "invoke", "pydantic", "torch", "rich", "ruamel", "keyring", "sqlite3")


@pytest.mark.parametrize("words", [["--help"], ["--version"]], ids=str)
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    script = (
        "import sys\nfrom orchestrator.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit as end: code = end.code\n"
        f"found = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(f'code {code}, imported {found}' if code or found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def verbs() -> Iterator[tuple[str, object]]:
    def below(command: object, path: str) -> Iterator[tuple[str, object]]:
        yield path, command
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, f"{path} {name}")

    yield from below(typer.main.get_command(app), "orch")


VERBS = dict(verbs())


@pytest.mark.parametrize("path", VERBS)
def test_every_verb_and_option_says_what_it_does(path: str) -> None:
    command = VERBS[path]
    text = str(getattr(command, "help", "") or "")
    first = text.strip().split("\n\n")[0]
    assert first.endswith("."), "a sentence"
    # What the list of verbs shows of it is not cut in the middle.
    assert "\n" not in first and len(first) <= 66
    for parameter in getattr(command, "params", []):
        if parameter.name not in ("help", "install_completion", "show_completion"):
            assert parameter.help, f"{path}: {parameter.name}"


def test_the_verbs_are_those_that_work() -> None:
    found = {path.removeprefix("orch ") for path in VERBS} - {"orch"}
    alone = "submit run init check attach wait cancel retry move status show logs pull exec ssh forward demo schema gc"
    of_hosts = "add list show rm rename key trust pause resume adopt autostart"
    assert found == {*alone.split(), "host", *(f"host {verb}" for verb in of_hosts.split())}
