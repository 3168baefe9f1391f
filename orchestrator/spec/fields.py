"""The kinds of values in jobs.yaml: each turns what was typed into one shape, or ends the sentence `KEY must be …`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core.core_schema import CoreSchema, no_info_before_validator_function

from orchestrator.errors import UsageError
from orchestrator.spec import durations, sizes
from orchestrator.spec.sshline import LOCAL, read_ssh_line
from orchestrator.spec.words import near
from remote_payload.agent.spool.states import RETRY_ON

JOB_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
HOST_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,99}"
HOST_MEANINGS = ("any", "auto", "none")
"""Words that mean something where a host's name may stand, and so are no names."""
PROFILES = (
    "auto", "generic", "autodl", "vast", "runpod", "lambda", "matpool", "gpushare", "featurize", "openbayes",
)  # fmt: skip
"""What each of them means stands in hosts/profiles.yaml; a test holds the two lists to each other."""
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,255}"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}"
PROJECT = r"\w[\w.-]{0,99}"
"""Letters of every script: a folder may be called anything."""
SECRET = ENV_NAME + r"\??"
TAG_PREFIX = "tag:"
MAX_GPUS = 1024
MAX_PRIORITY = 100
MAX_COUNT = 10_000
MAX_RETRIES = 1000
RETRY_WORDS = tuple(RETRY_ON)

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Sentence(ValueError):
    """An error whose text is a whole sentence, not the end of one."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def typed(value: Any) -> str:
    """Return text as it was typed; a number counts as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise ValueError(f'must be text; a bare {str(value).lower()} is refused, say "{str(value).lower()}" or "1"')
    if isinstance(value, int | float):
        return str(getattr(value, "text", value))
    raise ValueError("must be text")


def _shown(value: Any) -> str:
    """Return what stands in the file, for the end of a sentence."""
    text = str(value).lower() if isinstance(value, bool) else str(getattr(value, "text", value))
    return repr(text[:40])


def _one_line(value: Any) -> str:
    text = typed(value)
    if not text.strip() or _CONTROL.search(text):
        raise ValueError("must be one line of text")
    return text


def _script(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a command, as text")
    return value


@dataclass(frozen=True)
class Word:
    """The kind of a name: it matches `pattern`; `what` ends the sentence `must be …`."""

    pattern: str
    what: str

    def check(self, value: Any) -> str:
        """Return the name as typed.

        Raises:
            ValueError: it does not match.
        """
        text = typed(value)
        if not re.fullmatch(self.pattern, text, 0 if self.pattern == PROJECT else re.ASCII):
            raise ValueError(f"must be {self.what}, not {text[:60]!r}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # In the editors' dialect of patterns \\w means ASCII only.
        return {"type": "string"} if self.pattern == PROJECT else {"type": "string", "pattern": f"^{self.pattern}$"}


def _folder(value: Any) -> str:
    text = _one_line(value)
    if not text.startswith(("/", "~", "$HOME", "${HOME}")):
        raise ValueError(f"must be an absolute path on the host (or begin with ~/), not {text[:60]!r}")
    return text


def _inside(value: Any) -> str:
    text = _one_line(value).replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts:
        raise ValueError(f"must be a folder inside the code, not {text[:60]!r}")
    return "/".join(parts) or "."


def _glob(value: Any) -> str:
    text = _one_line(value)
    if text.startswith(("/", "~")) or ".." in text.split("/"):
        raise ValueError(f"must hold patterns inside the job's folder, and {text[:60]!r} leads out of it")
    return text


def _limit(value: Any) -> float | None:
    seconds = None if value == "none" else durations.seconds_of(value)
    if seconds == 0:
        raise ValueError("must be longer than 0; `none` is no limit")
    return seconds


def _gpus(value: Any) -> Any:
    if value == "auto":
        return value
    if isinstance(value, float) and 0 < value < 1:
        if abs(value * 100 - round(value * 100)) < 1e-9:
            return float(value)
        raise ValueError(f"can be a part of a GPU in hundredths, as in 0.25, not {_shown(value)}")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_GPUS:
        raise ValueError(f"must be auto, a whole number of GPUs, or a part of one below 1, not {_shown(value)}")
    return int(value)


def _number(lowest: int, highest: int) -> BeforeValidator:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {_shown(value)}")
        return int(value)

    return BeforeValidator(check)


def _gpu_type(value: Any) -> str:
    text = _one_line(value).strip()
    return "" if text == "any" else text


def _needs(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("must be a job's name, or a list of names")
    if len(set(names)) < len(names):
        raise ValueError("names a job twice")
    return names


def _gpu_numbers(value: Any) -> list[int] | None:
    if value == "all":
        return None
    fine = isinstance(value, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < MAX_GPUS for one in value
    )
    if not fine or not value:
        raise ValueError(f"must be all, or a list of GPU numbers as nvidia-smi gives them, not {_shown(value)}")
    return sorted({int(one) for one in value})


def _max_gpus(value: Any) -> int | None:
    if value == "all":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_GPUS:
        raise ValueError(f"must be all or a whole number of GPUs, not {_shown(value)}")
    return int(value)


def _choice(*words: str) -> BeforeValidator:
    listed_words = " or ".join([", ".join(words[:-1]), words[-1]])

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"must be {listed_words}, not {_shown(value)}{near(str(value), words)}")
        return value

    return BeforeValidator(check)


def _host_words(value: Any) -> list[str]:
    words = value if isinstance(value, list) else [value]
    if not words:
        raise ValueError("must name a host; the list is empty")
    for word in words:
        if not isinstance(word, str):
            raise ValueError("must be any, a host's name, a list of names, or tag:NAME")
        if word.startswith(TAG_PREFIX):
            if not re.fullmatch(TAG, word.removeprefix(TAG_PREFIX), re.ASCII):
                raise ValueError(f"must be tag:NAME, not {word[:60]!r}")
        elif not re.fullmatch(HOST_NAME, word, re.ASCII):
            raise ValueError(f"must be any, a host's name, a list of names, or tag:NAME, not {word[:60]!r}")
    if "any" in words and len(words) > 1:
        raise ValueError("must be any, or the hosts by name, not both")
    return [] if words == ["any"] else words


def _outputs(value: Any) -> Any:
    if value == "auto":
        return value
    if not isinstance(value, list):
        raise ValueError("must be auto or a list of patterns, as in [checkpoints/**, '*.png']")
    return [_glob(item) for item in value]


def _ssh(value: Any) -> str:
    text = _one_line(value).strip()
    if text != LOCAL:
        try:
            read_ssh_line(text)
        except UsageError as error:
            raise Sentence(error.message, error.hint) from None
    return text


def _root(value: Any) -> str | None:
    if value == "auto":
        return None
    text = _one_line(value)
    if not text.startswith(("/", "~/")):
        raise ValueError(f"must be auto or an absolute path on the host, not {text[:60]!r}")
    return text


def _version(value: Any) -> int:
    if isinstance(value, bool) or value != 1:
        raise ValueError("must be 1; no other version of this file is known")
    return 1


_TEXT_OR_NUMBER: dict[str, Any] = {"type": ["string", "number"]}

Typed = Annotated[str, BeforeValidator(typed), WithJsonSchema(_TEXT_OR_NUMBER)]
Line = Annotated[str, BeforeValidator(_one_line), WithJsonSchema({"type": ["string", "number"], "minLength": 1})]
Script = Annotated[str, BeforeValidator(_script), WithJsonSchema({"type": "string", "minLength": 1})]
HostPath = Annotated[str, BeforeValidator(_folder), WithJsonSchema({"type": "string", "pattern": r"^[/~$]"})]
Inside = Annotated[str, BeforeValidator(_inside), WithJsonSchema({"type": "string"})]
Limit = Annotated[float | None, BeforeValidator(_limit), WithJsonSchema({"type": ["string", "number"]})]
Grace = Annotated[float, BeforeValidator(durations.seconds_of), WithJsonSchema({"type": ["string", "number"]})]
Memory = Annotated[int, BeforeValidator(sizes.memory_mib), WithJsonSchema({"type": ["string", "integer"]})]
Gpus = Annotated[
    int | float | Literal["auto"],
    BeforeValidator(_gpus),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "auto"},
                {"type": "integer", "minimum": 0, "maximum": MAX_GPUS},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ]
        }
    ),
]
GpuType = Annotated[str, BeforeValidator(_gpu_type), WithJsonSchema({"type": ["string", "number"], "minLength": 1})]
GpuNumbers = Annotated[
    list[int] | None,
    BeforeValidator(_gpu_numbers),
    WithJsonSchema(
        {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}]}
    ),
]
MaxGpus = Annotated[
    int | None,
    BeforeValidator(_max_gpus),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "integer", "minimum": 0, "maximum": MAX_GPUS}]}),
]
Needs = Annotated[
    list[str],
    BeforeValidator(_needs),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Priority = Annotated[
    int,
    _number(-MAX_PRIORITY, MAX_PRIORITY),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": -MAX_PRIORITY,
            "maximum": MAX_PRIORITY,
        }
    ),
]
Count = Annotated[int, _number(0, MAX_COUNT), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_COUNT})]
Tries = Annotated[
    int, _number(0, MAX_RETRIES), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_RETRIES})
]
RetryWord = Annotated[str, _choice(*RETRY_WORDS), WithJsonSchema({"enum": list(RETRY_WORDS)})]
Pull = Annotated[str, _choice("auto", "never"), WithJsonSchema({"enum": ["auto", "never"]})]
AtRest = Annotated[str, _choice("memory", "disk"), WithJsonSchema({"enum": ["memory", "disk"]})]
ProfileName = Annotated[str, _choice(*PROFILES), WithJsonSchema({"enum": list(PROFILES)})]
Version = Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})]
HostWords = Annotated[
    list[str],
    BeforeValidator(_host_words),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
Outputs = Annotated[
    list[str] | Literal["auto"],
    BeforeValidator(_outputs),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "array", "items": {"type": "string"}}]}),
]
Root = Annotated[
    str | None,
    BeforeValidator(_root),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "string", "pattern": "^[/~]"}, {"type": "null"}]}),
]
SshText = Annotated[str, BeforeValidator(_ssh), WithJsonSchema({"type": "string", "minLength": 1})]

JobName = Annotated[str, Word(JOB_NAME, "a name of letters, digits, _ and -, beginning with a letter or _")]
HostName = Annotated[
    str,
    Word(
        rf"(?!(?:{'|'.join(HOST_MEANINGS)})$){HOST_NAME}",
        "a name of letters, digits, _, - and . (but any, auto, none), beginning with a letter or _",
    ),
]
EnvName = Annotated[str, Word(ENV_NAME, "a name of letters, digits and _, beginning with a letter or _")]
SecretName = Annotated[str, Word(SECRET, "NAME, or NAME? when it is optional")]
Tag = Annotated[str, Word(TAG, "a word")]
Project = Annotated[str, Word(PROJECT, "a word of letters, digits, _, - and .")]
