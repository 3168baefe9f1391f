"""Which submissions are believed: every field that the agent acts on has the type and the bounds it counts on. Pure."""

from __future__ import annotations

from typing import Any, Callable, Dict, Set, cast

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.manifests import check_path
from remote_payload.agent.spool.paths import is_digest, is_job_id, is_submission_id
from remote_payload.agent.spool.secrets import is_secret_name
from remote_payload.agent.wire.messages import Submission

MAX_JOBS = 10_000
MAX_GPUS = 1024

Check = Callable[[Any], bool]


def check_submission(value: Any) -> Submission:
    """Let a submission pass; fields this agent does not know are kept as they are.

    Raises:
        AgentFault: bad_request; the message names the field.
    """
    if not isinstance(value, dict):
        raise AgentFault("bad_request", "the submission is no object")
    _check_fields(value, _SUBMISSION, "the submission")
    seen: Set[str] = set()
    for spec in value["jobs"]:
        if not isinstance(spec, dict):
            raise AgentFault("bad_request", "a job of the submission is no object")
        what = "job {!r}".format(spec.get("name"))[:100]
        _check_fields(spec, _JOB, what)
        _check_optional(spec, _QUEUE, what)
        # A job that came from another host keeps the name of the submission it was made in.
        if spec["submission"] != value["id"] and "moved_from" not in value:
            raise AgentFault("bad_request", "the job {} names another submission".format(spec["id"]))
        if spec["id"] in seen:
            raise AgentFault("bad_request", "the job {} is there twice".format(spec["id"]))
        seen.add(spec["id"])
    return cast(Submission, value)


def _check_optional(value: Dict[str, Any], fields: Dict[str, Check], what: str) -> None:
    _check_fields(value, {name: check for name, check in fields.items() if name in value}, what)


def _check_fields(value: Dict[str, Any], fields: Dict[str, Check], what: str) -> None:
    for name, check in fields.items():
        if name not in value:
            raise AgentFault("bad_request", "{} has no {!r}".format(what, name))
        if not check(value[name]):
            raise AgentFault("bad_request", "{!r} of {} is not what the agent takes".format(name, what))


def _text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(name) and _text(text) for name, text in value.items())


def _env(value: Any) -> bool:
    return _text_map(value) and all(name and "=" not in name for name in value)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")


def _folder(value: Any) -> bool:
    if value in (".", ""):
        return True
    try:
        check_path(value)
    except ValueError:
        return False
    return True


def _setup(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and _text(value.get("run")) and _texts(value.get("files"))


def _python(value: Any) -> bool:
    return _text_map(value) and value.get("kind") in ("auto", "conda", "venv", "path")


def _secrets(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and is_secret_name(each.get("name"))
        and type(each.get("optional")) is bool
        and each.get("at_rest") in ("memory", "disk")
        for each in value
    )


def _gpus(value: Any) -> bool:
    return (
        value == "auto" or (type(value) is int and 0 <= value <= MAX_GPUS) or (type(value) is float and 0 < value < 1)
    )


def _needs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and _text(each.get("job"))
        and isinstance(each.get("ids"), list)
        and all(map(is_job_id, each["ids"]))
        for each in value
    )


def _retry(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _count(value.get("max"))
        and _texts(value.get("on"))
        and _number(value.get("backoff"))
    )


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _snapshot(value: Any) -> bool:
    return is_digest(value) and len(value) == 64


_SUBMISSION: Dict[str, Check] = {
    "id": is_submission_id,
    "project": _text,
    "owner": _text,
    "created_at": _number,
    "controller": _text,
    "path_on_controller": _text,
    "jobs": lambda value: isinstance(value, list) and 0 < len(value) <= MAX_JOBS,
}

_JOB: Dict[str, Check] = {
    "id": is_job_id,
    "name": _text,
    "job": _text,
    "project": _text,
    "submission": is_submission_id,
    "owner": _text,
    "params": _text_map,
    "run": _text,
    "setup": _setup,
    "python": _python,
    "snapshot": _snapshot,
    "dir": _folder,
    "env": _env,
    "secrets": _secrets,
    "gpus": _gpus,
    "gpu_memory_mib": lambda value: type(value) is int and value >= 0,
    "outputs": lambda value: value == "auto" or _texts(value),
    "pull": lambda value: value in ("auto", "never"),
    "timeout": lambda value: value is None or _number(value),
    "grace": _number,
    "requires": _texts,
    "submitted_at": _number,
}

_QUEUE: Dict[str, Check] = {
    "needs": _needs,
    "priority": lambda value: type(value) is int and -100 <= value <= 100,
    "max_parallel": _count,
    "max_failures": _count,
    "no_output": lambda value: value is None or _number(value),
    "retry": _retry,
    "gpu_type": _text,
}
"""Fields that older controllers do not send."""
