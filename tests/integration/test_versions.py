"""Two versions of the agent on one host at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.keeper_start import keeper_view
from remote_payload.agent.wire.protocol import GENERATION
from tests.harness.waiting import wait_until
from tests.integration.keeper_host import AGENT_PYTHON, KeeperHost, unpack_agent


def agent_of(folder: Path, generation: int) -> Path:
    """The agent as another version of it."""
    agent = unpack_agent(folder)
    module = agent / "remote_payload" / "agent" / "wire" / "protocol.py"
    text = module.read_text()
    assert f"GENERATION = {GENERATION}\n" in text
    module.write_text(text.replace(f"GENERATION = {GENERATION}\n", f"GENERATION = {generation}\n"))
    return agent


def start_keeper(agent: Path, host: KeeperHost) -> dict[str, Any]:
    """What serve of a version of the agent does after it stored something."""
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from remote_payload.agent.spool import keeper_start, paths\n"
        "print(json.dumps(keeper_start.start_keeper(paths.SpoolPaths(sys.argv[2]))))"
    )
    argv = [AGENT_PYTHON, "-I", "-S", "-c", script, str(agent), host.paths.root]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This version."""
    return unpack_agent(tmp_path_factory.mktemp("agent"))


@pytest.fixture
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KeeperHost]:
    made = KeeperHost(agent_of(tmp_path / "agent", request.param), tmp_path)
    try:
        yield made
    except BaseException:
        sys.stderr.write(made.trouble())
        raise
    finally:
        made.close()


@pytest.mark.parametrize("host", [GENERATION - 1], indirect=True)
def test_a_newer_agent_replaces_an_older_keeper_and_what_runs_goes_on(
    host: KeeperHost, agent: Path, tmp_path: Path
) -> None:
    job = host.spec(f"echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done")
    host.submit(job)
    host.printed(job["id"], "up")
    old = host.keepers[0].pid
    host.store(later := host.spec("echo later"))
    view = start_keeper(agent, host)
    assert view["alive"] and view["pid"] != old
    assert host.keepers[0].wait(10) == 0, "it left between two ticks"
    assert (atomic.read_json(host.paths.keeper_pid) or {})["generation"] == GENERATION
    assert host.ended(later["id"])["reason"] == "exit_zero"
    (tmp_path / "go").touch()
    assert host.ended(job["id"])["reason"] == "exit_zero"
    assert host.log(job["id"]) == "up\ndone\n"
    host.idle()


@pytest.mark.parametrize("host", [GENERATION + 1], indirect=True)
def test_an_older_agent_leaves_a_newer_keeper_alone(host: KeeperHost, agent: Path, tmp_path: Path) -> None:
    job = host.spec(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    host.submit(job)
    host.started(job["id"])
    assert start_keeper(agent, host)["pid"] == host.keepers[0].pid == keeper_view(host.paths)["pid"]
    (tmp_path / "go").touch()
    host.idle()


@pytest.mark.parametrize("host", [GENERATION], indirect=True)
def test_a_job_that_wants_more_than_the_keeper_knows_waits(host: KeeperHost) -> None:
    job = host.spec("true", requires=["timeout", "telepathy"])
    host.submit(job)
    why = wait_until(lambda: host.waiting().get(job["id"]), 20, "why it waits")
    assert why == {"reason": "needs_newer_keeper", "detail": "telepathy"}
    host.cancel(job["id"])
    host.idle()
