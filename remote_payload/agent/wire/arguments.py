"""Checking the arguments of a request: each method says what it takes, and nothing else reaches it. Pure."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.spool.paths import is_digest, is_job_id, is_submission_id

MAX_TEXT = 65536
MAX_ITEMS = 1_000_000

Check = Callable[[Any], bool]


class Arg(NamedTuple):
    """One argument: what it must be, in words and as a check; None is allowed, and the default, unless required."""

    words: str
    check: Check
    required: bool = True
    default: Any = None


def checked(method: str, takes: Mapping[str, Arg], args: Any) -> Dict[str, Any]:
    """Return the arguments with defaults filled in.

    Raises:
        AgentFault: bad_request; the message names the argument.
    """
    if not isinstance(args, dict):
        raise AgentFault("bad_request", "the arguments of {!r} are no object".format(method))
    for name in args:
        if name not in takes:
            raise AgentFault("bad_request", "{!r} takes no argument {!r}".format(method, name)[:200])
    found: Dict[str, Any] = {}
    for name, arg in takes.items():
        value = args.get(name)
        if value is None and not arg.required:
            found[name] = arg.default
        elif arg.check(value):
            found[name] = value
        else:
            raise AgentFault("bad_request", "argument {!r} of {!r} is not {}".format(name, method, arg.words))
    return found


def optional(arg: Arg, default: Any = None) -> Arg:
    """Return an argument that may be left out."""
    return arg._replace(required=False, default=default)


def list_of(arg: Arg, most: int = MAX_ITEMS) -> Arg:
    """Return a list of such things."""

    def check(value: Any) -> bool:
        return isinstance(value, list) and len(value) <= most and all(map(arg.check, value))

    return Arg("a list of at most {}, each {}".format(most, arg.words), check)


def map_of(arg: Arg) -> Arg:
    """Return an object with such values."""

    def check(value: Any) -> bool:
        return isinstance(value, dict) and len(value) <= MAX_ITEMS and all(map(arg.check, value.values()))

    return Arg("an object whose values are each {}".format(arg.words), check)


def one_of(*words: str) -> Arg:
    """Return one of a few words."""
    return Arg(" or ".join(words), lambda value: isinstance(value, str) and value in words)


def number(least: int = 0, most: Optional[int] = None) -> Arg:
    """Return a whole number between bounds."""

    def check(value: Any) -> bool:
        return type(value) is int and value >= least and (most is None or value <= most)

    return Arg("a whole number from {}{}".format(least, "" if most is None else " to {}".format(most)), check)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value


def _is_sha256(value: Any) -> bool:
    return is_digest(value) and len(value) == 64


TEXT = Arg("text without NUL", _is_text)
FLAG = Arg("true or false", lambda value: type(value) is bool)
SECONDS = Arg("a number of seconds", lambda value: type(value) in (int, float) and value >= 0)
OBJECT = Arg("an object", lambda value: isinstance(value, dict))
JOB = Arg("a job's id", is_job_id)
SUBMISSION = Arg("a submission's id", is_submission_id)
SHA256 = Arg("a SHA-256 in lower-case hex", _is_sha256)
FILE = Arg(
    "[root, path, offset]",
    lambda value: (
        isinstance(value, list) and len(value) == 3 and all(map(_is_text, value[:2])) and number().check(value[2])
    ),
)
