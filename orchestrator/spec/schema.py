"""The JSON Schema of jobs.yaml, for editors (`orch schema`)."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.models import DEFAULT, EXAMPLE, FileModel

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def annotated_schema() -> dict[str, Any]:
    """Return the schema with what each key is when left out, and how it is written (models.DEFAULT, EXAMPLE)."""
    schema = FileModel.model_json_schema(mode="validation")
    # A job may have its `run` from the defaults, so here nothing is required of it.
    jobs = schema["properties"]["jobs"]
    jobs["patternProperties"] = {name: {"$ref": "#/$defs/JobKeys"} for name in jobs["patternProperties"]}
    jobs["minProperties"] = 1
    schema["$defs"]["JobKeys"]["description"] = "The keys of a job."
    env = schema["$defs"]["JobKeys"]["properties"]["env"]["anyOf"][0]["patternProperties"]
    for name, value in env.items():
        env[name] = {"anyOf": [value, {"type": "null"}]}
    return schema


def json_schema() -> dict[str, Any]:
    """Return the schema as editors read it."""
    schema = _plain(annotated_schema())
    return {"$schema": _DIALECT, "title": "jobs.yaml of orch", **schema}


def _plain(node: Any) -> Any:
    """Drop generated titles and defaults; say in the description what a key is when left out."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if not _is_noise(key, value)}
    if "patternProperties" in node:
        kept["additionalProperties"] = False
    if DEFAULT in node:
        kept["description"] = f"{node.get('description', '')} Default: {shown_default(node[DEFAULT])}.".strip()
    return kept


def shown_default(text: str) -> str:
    """Return what a key is when left out: a value in backticks, or the words that describe it."""
    return text if " " in text else f"`{text}`"


def _is_noise(key: str, value: object) -> bool:
    # A key of jobs.yaml may itself be called `title`; its value would be a schema, not text.
    return (
        key in (DEFAULT, EXAMPLE) or (key == "title" and isinstance(value, str)) or (key == "default" and value is None)
    )
