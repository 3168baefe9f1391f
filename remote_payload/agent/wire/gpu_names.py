"""Types of GPU as people name them. Pure, imported by both ends."""

from __future__ import annotations

import re


def of_type(name: str, wanted: str) -> bool:
    """Tell whether a GPU's name holds the words asked for, whatever their case and what stands between them.

    "4090" and "rtx-4090" are both found in "NVIDIA GeForce RTX 4090"; "A100" is not found in "A1000".
    """
    words = re.findall(r"[a-z]+|[0-9]+", wanted.lower())
    if not words:
        return True
    before = r"(?<![0-9])" if words[0].isdigit() else r"(?<![a-z])"
    after = r"(?![0-9])" if words[-1].isdigit() else ""
    return re.search(before + r"[^a-z0-9]*".join(words) + after, name.lower()) is not None
