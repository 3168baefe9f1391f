"""The fold over any prefix of the writes that a job's life consists of."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.spool import states
from remote_payload.agent.spool.fold import (
    ORPHANED,
    AttemptFacts,
    JobFacts,
    Retry,
    attempts_allowed,
    cancel_stands,
    fold,
    next_try_after,
)
from tests.harness.submitting import job_spec
from tests.unit.agent.spool.builder import end, start

SPEC = job_spec("s-abcd", "0" * 64, "true")
NOW = 1000.0


def attempt(number: int = 1, **changes: Any) -> AttemptFacts:
    return AttemptFacts(number, None, None, None, False)._replace(**changes)


def test_before_anything() -> None:
    assert fold(JobFacts(SPEC), NOW) == (states.PENDING, None, "", "queued", 0)
    waits = JobFacts(SPEC, waiting={"reason": "no_gpu", "detail": "2 of 2 leased"})
    assert fold(waits, NOW) == (states.PENDING, None, "2 of 2 leased", "no_gpu", 0)


def test_cancelled_before_it_started() -> None:
    state = fold(JobFacts(SPEC, cancel={"at": 1.0}), NOW)
    assert (state.state, state.reason, state.attempt) == (states.CANCELLED, "cancelled_by_user", 0)


def test_a_claimed_attempt_starts_runs_and_ends() -> None:
    def shown(facts: AttemptFacts, cancel: Any = None) -> tuple[str, str]:
        state = fold(JobFacts(SPEC, cancel, (), (facts,)), NOW)
        return state.state, state.detail

    assert shown(attempt()) == (states.STARTING, "")
    assert shown(attempt(alive=True)) == (states.STARTING, "")
    assert shown(attempt(alive=True, start=start())) == (states.RUNNING, "")
    assert shown(attempt(start=start())) == (states.RUNNING, ORPHANED)
    assert shown(attempt(alive=True, start=start()), {"at": 1.0}) == (states.CANCELLING, "")
    assert shown(attempt(alive=True, start=start(), end=end())) == (states.SUCCEEDED, "")
    assert shown(attempt(start=start(), end=end("a_newer_agents_word"))) == (states.FAILED, "")


def test_exit_zero_while_it_is_cancelled_is_success() -> None:
    facts = JobFacts(SPEC, {"at": 1.0}, (), (attempt(start=start(), end=end()),))
    assert fold(facts, NOW).state == states.SUCCEEDED


def test_a_retry_counts_from_the_attempts_there_were() -> None:
    never = JobFacts(SPEC, {"at": 1.0}, (Retry(2.0, 0),))
    assert fold(never, NOW).state == states.PENDING
    assert attempts_allowed(never) == 1
    twice = JobFacts(SPEC, None, (Retry(2.0, 1), Retry(2.5, 1)), (attempt(end=end("exit_nonzero")),))
    assert fold(twice, NOW).state == states.PENDING
    assert attempts_allowed(twice) == 2
    done = twice._replace(attempts=(*twice.attempts, attempt(2, end=end("exit_nonzero"))))
    assert fold(done, NOW).state == states.FAILED


def test_the_newer_of_cancel_and_retry_counts() -> None:
    failed = (attempt(end=end("exit_nonzero")),)
    retried = JobFacts(SPEC, {"at": 1.0}, (Retry(2.0, 1),), failed)
    assert fold(retried, NOW).state == states.PENDING
    dropped = JobFacts(SPEC, {"at": 3.0}, (Retry(2.0, 1),), failed)
    assert fold(dropped, NOW).state == states.CANCELLED
    assert not cancel_stands({"at": "nonsense"}, (Retry(2.0, 1),))


def policy(reasons: list[str], most: int = 2, on: Any = ("host", "oom"), **changes: Any) -> JobFacts:
    spec = job_spec("s-abcd", "0" * 64, "true", retry={"max": most, "on": list(on), "backoff": 30.0})
    return JobFacts(spec, attempts=tuple(attempt(n + 1, end=end(one)) for n, one in enumerate(reasons)))._replace(
        **changes
    )


def test_a_retry_policy_adds_tries_until_it_is_spent() -> None:
    assert fold(policy(["out_of_memory"]), NOW).state == states.PENDING
    assert fold(policy(["out_of_memory", "supervisor_died"]), NOW).state == states.PENDING
    assert fold(policy(["out_of_memory"] * 3), NOW).state == states.FAILED
    assert fold(policy(["exit_nonzero"]), NOW).state == states.FAILED, "not in `on`"
    assert fold(policy(["out_of_memory", "exit_zero"]), NOW).state == states.SUCCEEDED


def test_two_reboots_in_a_row_end_the_policy() -> None:
    assert fold(policy(["host_rebooted"], 9), NOW).state == states.PENDING
    assert fold(policy(["host_rebooted"] * 2, 9), NOW).state == states.LOST
    assert fold(policy(["host_rebooted", "out_of_memory", "host_rebooted"], 9), NOW).state == states.PENDING


def test_a_request_gives_the_policy_anew() -> None:
    spent = policy(["out_of_memory"] * 3)
    again = spent._replace(retries=(Retry(2.0, 3),))
    assert attempts_allowed(again) == 4
    failed = policy(["out_of_memory"] * 4, retries=(Retry(2.0, 3),))
    assert attempts_allowed(failed) == 5


def test_a_cancel_ends_the_policy() -> None:
    assert fold(policy(["out_of_memory"], cancel={"at": 1.0}), NOW).state == states.CANCELLED


def test_the_pause_before_a_try_doubles_and_is_bounded() -> None:
    assert [next_try_after(policy(["out_of_memory"] * n, 99)) for n in (0, 1, 2, 3, 50)] == [0, 30, 60, 120, 1800]
    assert next_try_after(policy(["out_of_memory"], retries=(Retry(2.0, 1),))) == 0.0


FINAL = st.sampled_from(sorted(states.END_REASONS))


@st.composite
def lives(draw: st.DrawFn) -> list[JobFacts]:
    """What an observer may see of one job, write after write."""
    on = draw(st.lists(st.sampled_from(sorted(states.RETRY_ON))))
    retry = {"max": draw(st.integers(0, 3)), "on": on, "backoff": 1.0}
    facts = JobFacts(job_spec("s-abcd", "0" * 64, "true", retry=retry))
    seen = [facts]

    def write(**changes: Any) -> None:
        nonlocal facts
        facts = facts._replace(**changes)
        seen.append(facts)

    def write_attempt(**changes: Any) -> None:
        write(attempts=(*facts.attempts[:-1], facts.attempts[-1]._replace(**changes)))

    clock = 0.0
    for number in range(1, draw(st.integers(1, 4)) + 1):
        write(attempts=(*facts.attempts, attempt(number)))
        write_attempt(alive=True)
        write_attempt(lease={"gpus": []})
        if draw(st.booleans()):
            write_attempt(start=start())
        if draw(st.booleans()) and not cancel_stands(facts.cancel, facts.retries):
            clock += 1
            write(cancel={"at": clock, "by": "me"})
        if draw(st.booleans()) and facts.attempts[-1].start:
            write_attempt(alive=False)
        write_attempt(end=end(draw(FINAL)))
        if facts.attempts[-1].alive:
            write_attempt(alive=False)
        clock += 1
        for _ in range(draw(st.integers(1, 2))):
            write(retries=(*facts.retries, Retry(clock, number)))
    return seen


@given(lives())
def test_every_prefix_of_the_writes_is_a_state_that_may_follow(seen: list[JobFacts]) -> None:
    before = fold(seen[0], NOW)
    for facts in seen[1:]:
        now = fold(facts, NOW)
        assert now.state == before.state or now.state in states.TRANSITIONS[before.state], (before, now)
        assert now.attempt >= before.attempt
        assert (now.reason is not None) == (now.state in states.FINAL_STATES)
        assert (now.waiting_for is not None) == (now.state == states.PENDING)
        before = now


ANY_JSON = st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.booleans(), st.floats())
ANY_FILE = st.one_of(st.none(), st.dictionaries(st.sampled_from(["at", "reason", "detail", "gpus", "by"]), ANY_JSON))


@given(
    ANY_FILE, ANY_FILE, st.lists(st.tuples(ANY_FILE, ANY_FILE, ANY_FILE, st.booleans()), max_size=3),
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 3)), max_size=3),
)  # fmt: skip
def test_hand_edited_files_fold_to_some_state(cancel: Any, waiting: Any, tries: Any, retries: Any) -> None:
    attempts = tuple(AttemptFacts(n + 1, *each) for n, each in enumerate(tries))
    state = fold(JobFacts(SPEC, cancel, tuple(Retry(*each) for each in retries), attempts, waiting), NOW)
    assert state.state in states.FINAL_STATES | states.LIVE_STATES
    assert isinstance(state.detail, str)
