"""Global options count wherever they stand."""

from __future__ import annotations

import pytest

from orchestrator.cli.state import hoist


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("status --json", "--json status"),
        ("logs train -p digits -f", "-p digits logs train -f"),
        ("pull -A --project=x", "-A --project=x pull"),
        ("run -- python -v -p 3 --json", "run -- python -v -p 3 --json"),
        ("exec box -- ls -A", "exec box -- ls -A"),
        ("status -p", "status -p"),
    ],
)
def test_hoist(typed: str, parsed: str) -> None:
    assert hoist(typed.split()) == parsed.split()
