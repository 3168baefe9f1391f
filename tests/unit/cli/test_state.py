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
        ("exec box nvidia-smi -q", "exec box nvidia-smi -q"),
        ("exec --all --json -- ps -A", "--json exec --all -- ps -A"),
        ("run --host box -q python -v -p 3", "-q run --host box python -v -p 3"),
        ("run --env -q -- x", "run --env -q -- x"),
        ("logs run -q", "-q logs run"),
    ],
)
def test_hoist(typed: str, parsed: str) -> None:
    assert hoist(typed.split()) == parsed.split()
