"""What README and docs tell people to type works: each command is run, in order, against a host reached by SSH."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestrator.cli.main import app
from orchestrator.hosts.target import parse_ssh_line
from orchestrator.spec.expand import load_jobs_file
from tests.harness.ssh_laptop import SshLaptop
from tests.harness.terminal import Terminal

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENDLESS = ("forward", "-w", "--watch")
"""Commands with one of these words go on until Ctrl-C."""
TRAIN = """
import pathlib
for epoch in range(1, 4):
    print(f"epoch {epoch}/3")
pathlib.Path("model.txt").write_text("trained")
"""


def blocks(page: Path, kind: str) -> list[str]:
    return [body for name, body in BLOCK.findall(page.read_text(encoding="utf-8")) if name == kind]


def commands(page: Path) -> Iterator[str]:
    """What follows a `$ ` in the page's console blocks; the other lines are output."""
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                yield line[2:]


def spans(page: Path) -> Iterator[str]:
    """Commands of orch that stand in the text, as `orch …`."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    yield from (span.replace("\\|", "|") for span in re.findall(r"`(orch(?: [^`]+))`", text))


class Reader:
    """Types what a page says, into one folder, with one real host under every name the pages use."""

    def __init__(self, box: SshLaptop) -> None:
        self._box = box
        self._laptop = box.laptop
        self._laptop.write("train.py", TRAIN)

    def type(self, line: str) -> None:
        """Type one command; it must succeed (what never ends must have begun, and end at Ctrl-C)."""
        words = shlex.split(line, comments=True)
        assert words[0] == "orch", f"what does this test do with {line!r}?"
        if words[1:3] == ["host", "add"]:
            self._add(words)
            return
        with Terminal(self._laptop, *words[1:], size=(160, 40)) as terminal:
            if set(words) & set(ENDLESS):
                terminal.wait_for(lambda text: bool(text.strip()))
                terminal.press("ctrl-c")
                code = terminal.wait()
                assert code in (0, 130), f"{line}: {code}\n{terminal.text()}"
                return
            if words[1] == "ssh":
                terminal.press("exit\r")
            code = terminal.wait(120)
            assert code == 0, f"{line}: {code}\n{terminal.text()}"

    def _add(self, words: list[str]) -> None:
        """The address in the page is nobody's; it must be a line that orch reads, then the real host's is taken."""
        name, line, *more = words[3:]
        assert parse_ssh_line(line).host
        self._laptop.orch("host", "add", name, self._box.login, *more)


def test_every_command_in_the_pages_works(tmp_path: Path) -> None:
    # Nothing may depend on paths without blanks.
    with SshLaptop(tmp_path / "some where") as box:
        reader = Reader(box)
        typed = [line for page in PAGES for line in commands(page)]
        assert len(typed) > 8
        for line in typed:
            reader.type(line)
        assert list(box.laptop.folder.glob("results/s-*/train/model.txt"))
        box.laptop.orch("cancel", "--all", "-y", code=None)


def test_a_key_below_a_folder_with_a_blank_opens_the_host(tmp_path: Path) -> None:
    folder = tmp_path / "some where"
    keys = [folder / "sshd" / "authorized_keys", folder / "host-home" / ".ssh" / "authorized_keys"]
    with SshLaptop(folder, config=["AuthorizedKeysFile " + " ".join(f'"{path}"' for path in keys)]) as box:
        box.laptop.orch("host", "key", box.NAME)
        keys[0].write_text("")  # the key it was met with counts no more
        assert box.laptop.orch("exec", box.NAME, "--", "echo", "in").stdout == "in\n"


def _names(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", [ROOT / READMES[1], *PAGES], ids=lambda page: page.name)
def test_every_command_named_in_the_text_exists(page: Path) -> None:
    for span in spans(page):
        words = span.partition(" -- ")[0].split()[1:]
        command: Any = typer.main.get_command(app)
        known = _names(command) | {"-h", "--help"}
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            names = words.pop(0).split("|")
            for name in names:
                assert name in command.commands, f"{page.name}: `{span}`"
            command = command.commands[names[0]]
            known |= _names(command)
        for option in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", " ".join(words)):
            assert option in known, f"{page.name}: `{span}`: {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_jobs_file_in_the_pages_is_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "yaml"):
        (tmp_path / "jobs.yaml").write_text(text, encoding="utf-8")
        if "jobs:" in text:
            assert load_jobs_file(tmp_path / "jobs.yaml").jobs


def test_both_readmes_name_the_same_commands() -> None:
    first, second = (sorted(spans(ROOT / name)) for name in READMES)
    assert first == second
