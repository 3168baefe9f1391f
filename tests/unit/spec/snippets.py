"""Every jobs.yaml that people are shown, and every piece of one, made whole."""

from __future__ import annotations

import re
from pathlib import Path

import orchestrator.spec.models as models
from orchestrator.spec.models import EXAMPLE
from orchestrator.spec.schema import annotated_schema

ROOT = Path(__file__).resolve().parents[3]


def whole(text: str) -> str:
    """Return a jobs.yaml of a piece that may hold only the keys of a job."""
    if re.search(r"^jobs:", text, re.MULTILINE):
        return text
    keys = "".join(f"    {line}\n" for line in text.splitlines())
    return f"defaults: {{run: x}}\njobs:\n  train:\n{keys}"


def _found() -> dict[str, str]:
    found = {"jobs.yaml": (ROOT / "jobs.yaml").read_text(encoding="utf-8")}
    for page in (*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for number, block in enumerate(re.findall(r"^```ya?ml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL), start=1):
            found[f"{page.name} {number}"] = whole(block)
    schema = annotated_schema()
    for name, model in (("the file", schema), ("a job", schema["$defs"][models.JobKeys.__name__])):
        for key, node in model["properties"].items():
            found[f"{key} of {name}"] = whole(node[EXAMPLE])
    return found


JOBS_FILES = _found()
