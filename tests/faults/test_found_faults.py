"""What the fault suite found, each by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.host import FaultyHost
from tests.harness.submitting import Sent, wait_final


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FaultyHost]:
    made = FaultyHost(tmp_path / "h1", "h1", tmp_path / "agents")
    yield made
    made.close()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text("print('hello')\n")
    return tmp_path / "code"


def python() -> dict[str, str]:
    return {"kind": "path", "path": shutil.which("python3") or ""}


def test_a_withdrawal_that_was_interrupted_may_be_repeated(host: FaultyHost, code: Path) -> None:
    sent = Sent(code, "true", python=python())
    with host.link() as link:
        link.pause(True, "me")
        sent.send(link)
        # What a kill leaves between the claim of the attempt and the end that withdraws it.
        attempt = host.root / "jobs" / sent.job / "attempts" / "1"
        attempt.mkdir(parents=True)
        (attempt / "lock").touch()
        assert link.withdraw([sent.job], "s-other", "h2") == {"withdrawn": [sent.job], "refused": {}}
        link.pause(False, "me")
        view = wait_final(link, sent.job)
    assert (view["state"], view["reason"], view["attempt"]) == ("CANCELLED", "moved", 1)
