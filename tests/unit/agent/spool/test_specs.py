from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.specs import check_submission
from tests.harness.submitting import job_spec


def submission(**changes: Any) -> dict[str, Any]:
    spec = {**job_spec("s-abcd", "0" * 64, "true"), **changes}
    return {"id": "s-abcd", "project": "p", "owner": "o", "created_at": 1.0, "controller": "c",
            "path_on_controller": "/x", "jobs": [spec], "later": 1}  # fmt: skip


def test_a_good_one_passes_with_fields_of_a_later_version() -> None:
    value = submission(later=[1], gpus="auto", timeout=5, setup={"run": "x", "files": ["a"]}, dir="a/b")
    assert check_submission(value) is value


WRONG: list[tuple[str, Any]] = [
    ("id", "../x"), ("id", None), ("submission", "s-efgh"), ("snapshot", "../../x"), ("dir", "../x"), ("dir", "/x"),
    ("env", {"A=B": "x"}), ("env", {"A": 1}), ("env", {"A": "a\0"}), ("env", {"": "x"}), ("run", None), ("gpus", -1),
    ("gpus", True), ("gpus", 1.5), ("grace", float("inf")), ("grace", -1), ("timeout", "1h"), ("secrets", ["KEY"]),
    ("secrets", [{"name": "a b", "optional": False, "at_rest": "memory"}]), ("python", {"kind": "magic"}),
    ("setup", "pip install x"), ("outputs", "some"), ("outputs", [1]), ("pull", "now"), ("requires", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(AgentFault) as caught:
        check_submission(submission(**{field: value}))
    assert caught.value.code == "bad_request"
    assert field in caught.value.message


def test_jobs_are_there_once() -> None:
    value = submission()
    wrong: list[Any] = [[], "x", value["jobs"] * 2, [1], [{}]]
    for jobs in wrong:
        with pytest.raises(AgentFault):
            check_submission({**value, "jobs": jobs})


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@given(st.sampled_from(sorted(submission()["jobs"][0])), ANY)
def test_any_value_passes_or_is_refused(field: str, value: Any) -> None:
    try:
        check_submission(submission(**{field: value}))
    except AgentFault as fault:
        assert fault.code == "bad_request"


@given(ANY)
def test_anything_is_refused(value: Any) -> None:
    with pytest.raises(AgentFault):
        check_submission(value)
