"""`orch schema`: a JSON Schema that agrees with the loader on what may stand in jobs.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from orchestrator.spec.loader import parse_text
from orchestrator.spec.nodes import plain
from orchestrator.spec.schema import json_schema
from tests.unit.spec.conftest import Load, Refused
from tests.unit.spec.draft import faults
from tests.unit.spec.snippets import JOBS_FILES

SCHEMA = json_schema()


def wrong(text: str) -> list[str]:
    """Return what the schema has against a jobs.yaml."""
    return faults(SCHEMA, plain(parse_text(text, PurePath("jobs.yaml")).root), SCHEMA)


def every(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from every(item)


def test_it_is_json_with_a_dialect_and_no_marks_of_ours() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    text = json.dumps(SCHEMA, allow_nan=False)
    assert not [key for node in every(SCHEMA) for key in node if key.startswith("x-")]
    assert json.loads(text) == SCHEMA


def test_every_reference_leads_somewhere_and_every_pattern_is_one() -> None:
    references = {node["$ref"] for node in every(SCHEMA) if isinstance(node.get("$ref"), str)}
    assert references and references <= {f"#/$defs/{name}" for name in SCHEMA["$defs"]}
    patterns = [node["pattern"] for node in every(SCHEMA) if isinstance(node.get("pattern"), str)]
    patterns += [
        p
        for node in every(SCHEMA)
        if isinstance(node.get("patternProperties"), dict)
        for p in node["patternProperties"]
    ]
    assert patterns
    for pattern in patterns:
        assert re.compile(pattern)
        # What Python alone knows would break an editor.
        assert r"\Z" not in pattern and "(?P" not in pattern and r"\A" not in pattern


def test_every_key_is_explained() -> None:
    for name in ("JobKeys", "SetupModel", "PythonModel", "CodeModel", "SecretModel", "ResourcesModel", "HostModel"):
        for key, node in SCHEMA["$defs"][name]["properties"].items():
            assert node["description"].strip(), f"{name}.{key}"
        assert SCHEMA["$defs"][name]["additionalProperties"] is False


@pytest.mark.parametrize("text", JOBS_FILES.values(), ids=JOBS_FILES)
def test_what_we_show_loads_and_fits(load: Load, text: str) -> None:
    assert load(text).jobs
    assert wrong(text) == []


GOOD = [
    "timeout: 2h",
    "timeout: 90",
    "timeout: none",
    "timeout: null",
    "grace: 1m",
    "pull: never",
    "outputs: auto",
    "outputs: ['*.pt']",
    "hosts: any",
    "hosts: [a, 'tag:b']",
    "python: auto",
    "python: {venv: ~/v}",
    "setup: {run: y, files: [a]}",
    "setup: none",
    "env: {A: 1, B: x, C: 1e-4, D: null}",
    "secrets: [A, {name: 'B?'}]",
    "resources: {gpus: auto, gpu_memory: 10GB}",
    "matrix: {a: [1, x, true], b: {range: [1, 3]}, include: [{a: 5}], exclude: [{a: 1}]}",
    "code: {path: .., dir: src}",
]
BAD = [
    "tiemout: 2h",
    "timeout: true",
    "pull: 5",
    "pull: sometimes",
    "outputs: '*.pt'",
    "hosts: []",
    "python: base",
    "python: {}",
    "python: {conda: a, venv: /b}",
    "python: {path: bin/python}",
    "setup: {files: [a]}",
    "env: {A: true}",
    "env: {A-B: c}",
    "secrets: A",
    "secrets: [A-B]",
    "secrets: [{name: A, at_rest: ram}]",
    "resources: {gpus: -1}",
    "resources: {gpus: 1.5}",
    "matrix: {a: 1}",
    "matrix: {a: []}",
    "matrix: {a: {range: [1]}}",
    "code: src",
    "code: {pth: x}",
]


@pytest.mark.parametrize("keys", GOOD)
def test_both_accept(load: Load, keys: str) -> None:
    text = f"jobs: {{t: {{run: x, {keys}}}}}\n"
    assert load(text).jobs
    assert wrong(text) == []


@pytest.mark.parametrize("keys", BAD)
def test_both_refuse(refused: Refused, keys: str) -> None:
    text = f"jobs: {{t: {{run: x, {keys}}}}}\n"
    assert refused(text)[0].startswith("1:")
    assert wrong(text), "an editor would let it pass"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "jobs: {}",
        "jobs: {1a: {run: x}}",
        "version: 2\njobs: {t: {run: x}}",
        "hosts: {any: {ssh: h}}\njobs: {t: {run: x}}",
    ],
)
def test_both_refuse_files(refused: Refused, text: str) -> None:
    assert refused(text)
    assert wrong(text)


def test_run_may_come_from_the_defaults(load: Load) -> None:
    text = "defaults: {run: x}\njobs: {t: {pull: never}, u: {}}\n"
    assert len(load(text).jobs) == 2
    assert wrong(text) == []


def test_the_shipped_file_is_nearly_as_small_as_can_be() -> None:
    root = Path(__file__).resolve().parents[3]
    lines = [line for line in (root / "jobs.yaml").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) <= 10
