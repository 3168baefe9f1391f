"""Writes docs/jobs-yaml.md from reference.md and the schema.

`python -m orchestrator.spec.reference docs/jobs-yaml.md`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from orchestrator.spec.models import DEFAULT
from orchestrator.spec.schema import annotated_schema, shown_default

_SECTIONS = (
    ("FileModel", "The file", "Only `jobs` is needed."),
    ("JobKeys", "A job", "Under `jobs: {NAME: …}`, and under `defaults`. Only `run` is needed."),
    ("SetupModel", "`setup: {…}`", ""),
    ("PythonModel", "`python: {…}`", "Exactly one. A path is absolute on the host, or begins with `~/`."),
    ("CodeModel", "`code: {…}`", ""),
    ("SecretModel", "`secrets: [{…}]`", ""),
    ("ResourcesModel", "`resources: {…}`", ""),
    ("HostModel", "`hosts: {NAME: {…}}`", "Only `ssh` is needed. A password may not stand here."),
)

_PROSE = Path(__file__).with_name("reference.md")
_MARK = "<!-- tables -->\n"


def render() -> str:
    """Return the page."""
    schema = annotated_schema()
    parts = []
    for name, title, note in _SECTIONS:
        model = schema if name == "FileModel" else schema["$defs"][name]
        parts.append("\n\n".join(text for text in (f"## {title}", note, _table(model)) if text))
    return _PROSE.read_text(encoding="utf-8").replace(_MARK, "\n".join(parts) + "\n")


def _table(model: dict[str, Any]) -> str:
    required = model.get("required", [])
    rows = ["| key | is | when left out |", "|---|---|---|"]
    for key, node in model["properties"].items():
        needed = "needed" if key in required else shown_default(node[DEFAULT]) if DEFAULT in node else ""
        rows.append(f"| `{key}` | {node['description'].replace('|', '&#124;')} | {needed} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8", newline="\n")
