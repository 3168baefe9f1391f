"""Writes docs/jobs-yaml.md from reference.md and the models: a section for each key.

`python -m orchestrator.spec.reference docs/jobs-yaml.md`
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from orchestrator.spec.models import DEFAULT, EXAMPLE
from orchestrator.spec.schema import annotated_schema, shown_default

_PARTS = (
    ("FileModel", "The file", "Only `jobs` is needed."),
    ("JobKeys", "A job", "Under `jobs: {NAME: …}`, and under `defaults`. Only `run` is needed."),
)
_INNER = {
    ("FileModel", "hosts"): "HostModel",
    ("JobKeys", "setup"): "SetupModel",
    ("JobKeys", "python"): "PythonModel",
    ("JobKeys", "code"): "CodeModel",
    ("JobKeys", "secrets"): "SecretModel",
    ("JobKeys", "resources"): "ResourcesModel",
    ("JobKeys", "retry"): "RetryModel",
}
"""Keys whose value is a map, and the model of that map."""
_NEEDED = {"JobKeys": ["run"]}
"""What a job needs although the defaults may leave it out."""

_PROSE = Path(__file__).with_name("reference.md")
_MARK = "<!-- keys -->\n"
_MORE = re.compile(r"<!-- more: (\w+) -->\n\n")


def render() -> str:
    """Return the page."""
    text, *pieces = _MORE.split(_PROSE.read_text(encoding="utf-8"))
    more = dict(zip(pieces[::2], pieces[1::2], strict=True))
    schema = annotated_schema()
    models = {"FileModel": schema, **schema["$defs"]}
    parts = [_part(name, title, note, models, more) for name, title, note in _PARTS]
    return text.replace(_MARK, _contents(models) + "\n" + "\n".join(parts)).rstrip() + "\n"


def _contents(models: dict[str, Any]) -> str:
    seen: set[str] = set()
    lines = []
    for name, title, _ in _PARTS:
        links = []
        for key in models[name]["properties"]:
            # A heading that was there before gets a number behind its anchor.
            links.append(f"[`{key}`](#{key}{'-1' if key in seen else ''})")
            seen.add(key)
        lines.append(f"- {title}: {' · '.join(links)}\n")
    return "".join(lines)


def _part(name: str, title: str, note: str, models: dict[str, Any], more: dict[str, str]) -> str:
    model = models[name]
    needed = [*model.get("required", []), *_NEEDED.get(name, [])]
    sections = [f"## {title}\n\n{note}\n"]
    for key, node in model["properties"].items():
        default = "Needed." if key in needed else f"Default: {shown_default(node[DEFAULT])}."
        pieces = [f"### `{key}`", f"{node['description']} {default}", f"```yaml\n{node[EXAMPLE]}\n```"]
        inner = _INNER.get((name, key))
        if inner is not None:
            pieces.append(_table(models[inner]))
        if name == "JobKeys" and key in more:
            pieces.append(more[key].strip())
        sections.append("\n\n".join(pieces) + "\n")
    return "\n".join(sections)


def _table(model: dict[str, Any]) -> str:
    required = model.get("required", [])
    rows = ["| key | is | when left out |", "|---|---|---|"]
    for key, node in model["properties"].items():
        default = "needed" if key in required else shown_default(node[DEFAULT]) if DEFAULT in node else ""
        rows.append(f"| `{key}` | {node['description'].replace('|', '&#124;')} | {default} |")
    return "\n".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8", newline="\n")
