"""The files of a job's life, cut off after any write and in the middle of one: what is read is always a state that was.

Two readers look at them, the agent's fold and the fault suite's own, and must agree on whether the job is over.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from remote_payload.agent.spool import atomic, states
from remote_payload.agent.spool.fold import JobState, fold, is_final
from remote_payload.agent.spool.submissions import Submissions, load_facts
from tests.faults.spoolfiles import read_spool
from tests.unit.agent.spool.builder import Builder, end, start

Write = tuple[str, dict[str, Any]]
"""A name below the job's folder, and what the file says."""


@st.composite
def writes(draw: st.DrawFn) -> tuple[dict[str, Any], list[Write]]:
    """Return a retry policy, and the files of one job in the order in which they are written."""
    words = draw(st.lists(st.sampled_from(sorted(states.RETRY_ON)), unique=True))
    policy = {"max": draw(st.integers(0, 2)), "on": words, "backoff": 0.0}
    found: list[Write] = []
    clock = 1.0
    for number in range(1, draw(st.integers(1, 3)) + 1):
        place = f"attempts/{number}"
        if draw(st.booleans()):
            clock += 1
            found.append(("cancel.json", {"at": clock, "by": "me"}))
        found.append((f"{place}/lease.json", {"gpus": [], "at": clock}))
        if draw(st.booleans()):
            found.append((f"{place}/start.json", start()))
        found.append((f"{place}/end.json", end(draw(st.sampled_from(sorted(states.END_REASONS))))))
        clock += 1
        found.append((f"retry-r{number}.json", {"at": clock, "after": number}))
    return policy, found


def replayed(spool: Builder, job: str) -> JobState:
    """Read a job as a process that has just begun."""
    (spec,) = Submissions(spool.paths).refresh()
    assert spec["id"] == job
    return fold(load_facts(spool.paths, spec), 0.0)


@settings(max_examples=25, deadline=None)
@given(writes(), st.data())
def test_any_prefix_and_any_torn_write_reads_as_a_state_that_was(
    life: tuple[dict[str, Any], list[Write]], data: st.DataObject
) -> None:
    policy, files = life
    with tempfile.TemporaryDirectory() as folder:
        spool = Builder(Path(folder) / "spool")
        job = spool.submit(retry=policy)["id"]
        place = Path(spool.paths.job(job).folder)
        before = replayed(spool, job)
        assert before.state == states.PENDING
        for name, value in files:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            claimed = replayed(spool, job)
            # A writer that died here left its temporary, cut anywhere.
            text = json.dumps(value)
            torn = path.with_name(f"{path.name}.0123456789ab.tmp")
            torn.write_text(text[: data.draw(st.integers(0, len(text)))])
            assert replayed(spool, job) == claimed, "what is not in place is not read"
            atomic.write_json(str(path), value)
            now = replayed(spool, job)
            for seen, following in ((before, claimed), (claimed, now)):
                assert following.state == seen.state or following.state in states.TRANSITIONS[seen.state]
            other = read_spool(Path(spool.paths.root))
            assert other.broken == []
            assert other.jobs[job].over == is_final(now.state), (now, files)
            before = now


def test_the_table_of_transitions_is_whole() -> None:
    every = states.LIVE_STATES | states.FINAL_STATES
    assert set(states.TRANSITIONS) == every
    assert not states.LIVE_STATES & states.FINAL_STATES
    for state, following in states.TRANSITIONS.items():
        assert following <= every - {state}
    # What is over goes on only when somebody asks for it, and whatever lives comes to an end from where it is.
    assert all(states.TRANSITIONS[state] == {states.PENDING} for state in states.FINAL_STATES - {states.CANCELLED})
    assert states.TRANSITIONS[states.CANCELLED] == {states.PENDING, states.CANCELLING}
    assert all(states.TRANSITIONS[state] >= states.FINAL_STATES for state in states.LIVE_STATES)
    assert {reason.state for reason in states.END_REASONS.values()} == states.FINAL_STATES
    covered = {reason for reasons in states.RETRY_ON.values() for reason in reasons}
    assert covered <= set(states.END_REASONS)
    assert all(states.END_REASONS[reason].state in (states.FAILED, states.LOST) for reason in covered)
