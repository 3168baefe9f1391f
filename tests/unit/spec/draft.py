"""As much of JSON Schema as `orch schema` uses; a keyword that is not known here fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float), "null": (type(None),),
}  # fmt: skip
_SILENT = {"$schema", "$defs", "title", "description", "default"}


def faults(schema: Any, value: Any, root: Any, at: str = "") -> list[str]:
    """Return what a value has that its schema does not allow.

    Args:
        schema: of the value.
        value: maps, lists, text, numbers, booleans, None.
        root: the whole schema, in which references are looked up.
        at: where the value stands.
    """
    found: list[str] = []
    for keyword, wanted in schema.items():
        if keyword not in _SILENT:
            found += [f"{at}: {fault}" if at else fault for fault in _check(keyword, wanted, schema, value, root)]
    return found


def _check(keyword: str, wanted: Any, schema: Any, value: Any, root: Any) -> list[str]:
    if keyword == "$ref":
        return faults(_target(wanted, root), value, root)
    if keyword == "anyOf":
        ways = [faults(one, value, root) for one in wanted]
        return [] if [] in ways else [f"none of {len(ways)} forms: {ways}"]
    if isinstance(value, dict) and keyword in ("properties", "patternProperties", "additionalProperties"):
        return _check_keys(keyword, wanted, schema, value, root)
    if keyword == "items" and isinstance(value, list):
        return [fault for n, item in enumerate(value) for fault in faults(wanted, item, root, str(n))]
    return [] if _fits(keyword, wanted, value) else [f"{value!r} breaks {keyword} {wanted!r}"]


def _target(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def _check_keys(keyword: str, wanted: Any, schema: Any, value: dict[str, Any], root: Any) -> list[str]:
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    found: list[str] = []
    for key, item in value.items():
        matching = [one for pattern, one in patterns.items() if re.search(pattern, key)]
        if keyword == "properties" and key in named:
            found += faults(named[key], item, root, key)
        elif keyword == "patternProperties":
            found += [fault for one in matching for fault in faults(one, item, root, key)]
        elif keyword == "additionalProperties" and key not in named and not matching:
            found += [f"{key!r} may not stand here"] if wanted is False else faults(wanted, item, root, key)
    return found


def _fits(keyword: str, wanted: Any, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword == "type":
        kinds = [kind for name in ([wanted] if isinstance(wanted, str) else wanted) for kind in _KINDS[name]]
        return isinstance(value, tuple(kinds)) and (not isinstance(value, bool) or bool in kinds)
    rules: dict[str, Callable[[], bool]] = {
        "const": lambda: value == wanted,
        "enum": lambda: value in wanted,
        "pattern": lambda: not isinstance(value, str) or re.search(wanted, value) is not None,
        "minLength": lambda: not isinstance(value, str) or len(value) >= wanted,
        "minimum": lambda: not is_number or value >= wanted,
        "exclusiveMinimum": lambda: not is_number or value > wanted,
        "exclusiveMaximum": lambda: not is_number or value < wanted,
        "maximum": lambda: not is_number or value <= wanted,
        "minItems": lambda: not isinstance(value, list) or len(value) >= wanted,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= wanted,
        "minProperties": lambda: not isinstance(value, dict) or len(value) >= wanted,
        "maxProperties": lambda: not isinstance(value, dict) or len(value) <= wanted,
        "required": lambda: not isinstance(value, dict) or set(wanted) <= set(value),
        "items": lambda: True, "properties": lambda: True, "patternProperties": lambda: True,
        "additionalProperties": lambda: True,
    }  # fmt: skip
    return rules[keyword]()
