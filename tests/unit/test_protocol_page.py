"""docs/protocol.md and docs/architecture.md name what is there: methods, arguments, error codes, files, modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remote_payload.agent.spool.paths import AttemptPaths, EnvPaths, JobPaths, SpoolPaths
from remote_payload.agent.wire.methods import METHODS

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def table(text: str, head: str) -> dict[str, str]:
    """First and second column of a table."""
    rows = text[text.index(head) :].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0]: row[1] for row in cells}


def test_methods_and_their_arguments() -> None:
    told = table(PROTOCOL, "| method | arguments | answer |")
    assert {name: set(filter(None, args.split(", "))) for name, args in told.items()} == {
        name: set(method.args) for name, method in METHODS.items()
    }


def test_error_codes() -> None:
    listed = re.search(r"Error codes: `([^`]*)`", PROTOCOL)
    assert listed is not None
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "remote_payload" / "agent").rglob("*.py"))
    raised = set(re.findall(r"AgentFault\(\s*\"([a-z_]+)\"", source))
    told = set(listed[1].split())
    assert raised <= told
    for code in told:
        assert f'"{code}"' in source, f"nothing answers with {code}"


@pytest.mark.parametrize(
    "paths", [SpoolPaths("/r"), JobPaths("/r", "j-1234"), AttemptPaths("/r", 1), EnvPaths("/r", "0" * 8)], ids=type
)
def test_every_file_of_the_spool_is_on_the_page(paths: object) -> None:
    tree = PROTOCOL[PROTOCOL.index("## Spool") :]
    names = {Path(value).name for value in vars(paths).values() if isinstance(value, str) and value.startswith("/r/")}
    for name in names - {"attempts"}:
        assert re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", tree), name
    assert "attempts/<n>/" in tree


def test_the_tree_of_modules_is_as_drawn() -> None:
    tree = ARCHITECTURE[ARCHITECTURE.index("## Three zones") :].split("```")[1]
    drawn: set[Path] = set()
    above: dict[int, str] = {}
    for line in tree.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for word in re.match(r"(\S+( \S+\.py)*)", line.strip())[0].split():  # type: ignore[index]
            above[depth] = word
            place = "/".join([above[n].rstrip("/") for n in range(depth)] + [word.rstrip("/")])
            assert list(ROOT.glob(place)), f"{place} is drawn and not there"
            drawn.update(ROOT.glob(place))
    for folder in ("orchestrator", "remote_payload", "remote_payload/agent"):
        for path in (ROOT / folder).iterdir():
            if (path.suffix == ".py" and path.name not in ("__init__.py", "main.py", "faults.py")) or (
                path.is_dir() and (path / "__init__.py").exists()
            ):
                assert path in drawn, f"{path.relative_to(ROOT)} is there and not drawn"
