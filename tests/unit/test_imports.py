"""The house's rules on who may import whom, read from every import in the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SHARED = ("remote_payload.agent.wire", "remote_payload.agent.spool.states", "remote_payload.agent.spool.manifests")
BASE = ("orchestrator.errors", "orchestrator.text", "orchestrator.paths", *SHARED)
LOW = ("orchestrator.remote", "orchestrator.store", "orchestrator.spec", *BASE)
MAY_IMPORT = {
    "orchestrator.cli": ("orchestrator", *SHARED),
    "orchestrator.api": ("orchestrator.plan", "orchestrator.ship", "orchestrator.watch", "orchestrator.fetch",
                         "orchestrator.hosts", "orchestrator.loopback", "orchestrator.api", *LOW),
    "orchestrator.loopback": ("orchestrator.errors",),
    "orchestrator.plan": BASE,
    "orchestrator.ship": ("orchestrator.ship", *LOW),
    "orchestrator.watch": ("orchestrator.watch", *LOW),
    "orchestrator.fetch": ("orchestrator.fetch", *LOW),
    "orchestrator.hosts": ("orchestrator.hosts", *LOW),
    "orchestrator.remote": ("orchestrator.remote", *BASE),
    "orchestrator.spec": ("orchestrator.spec", *BASE),
    "orchestrator.store": ("orchestrator.store", *BASE),
    "orchestrator.errors": SHARED,
    "orchestrator.text": (),
    "orchestrator.paths": ("orchestrator.errors",),
    "remote_payload.agent": ("remote_payload.agent",),
    "remote_payload.train": ("remote_payload.train",),
}  # fmt: skip


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # The payload alone imports relatively: it is sent without its parents and runs by itself.
            assert node.level == 0 or under(name_of(path), ("remote_payload.train",)), f"{path}: relative import"
            if node.level == 0:
                yield node.module or ""


def under(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


ALL = modules("orchestrator") + modules("remote_payload")


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_direction(path: Path) -> None:
    name = name_of(path)
    room = next((room for room in MAY_IMPORT if under(name, (room,))), None)
    if room is None:
        return
    ours = [one for one in imports(path) if under(one, ("orchestrator", "remote_payload"))]
    wrong = [one for one in ours if not under(one, MAY_IMPORT[room]) and one not in ("orchestrator", "remote_payload")]
    assert not wrong, f"{name} may not import {wrong}"


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    name = name_of(path)
    for one in imports(path):
        if under(one, ("fabric", "paramiko", "invoke")):
            assert under(name, ("orchestrator.remote",)), f"{name} imports {one}"
        if under(one, ("rich", "typer")):
            assert under(name, ("orchestrator.cli",)), f"{name} imports {one}"
        if under(one, ("torch", "wandb", "sklearn", "numpy")):
            assert under(name, ("remote_payload.train",)), f"{name} imports {one}"


@pytest.mark.parametrize("path", modules("remote_payload/agent"), ids=name_of)
def test_the_agent_needs_only_the_standard_library(path: Path) -> None:
    outside = [
        one
        for one in imports(path)
        if one.split(".")[0] not in sys.stdlib_module_names and not under(one, ("remote_payload",))
    ]
    assert not outside


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "what two things does it do?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
