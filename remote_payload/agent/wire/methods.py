"""The allow-list: every method a controller may call, what it takes, and how it runs."""

from __future__ import annotations

from typing import Callable, Dict, Mapping, NamedTuple

from remote_payload.agent.wire import (
    methods_code,
    methods_exec,
    methods_files,
    methods_follow,
    methods_host,
    methods_jobs,
    methods_move,
    methods_prepare,
)
from remote_payload.agent.wire.arguments import (
    FILE,
    FLAG,
    JOB,
    OBJECT,
    SECONDS,
    SHA256,
    SUBMISSION,
    TEXT,
    Arg,
    list_of,
    map_of,
    number,
    one_of,
    optional,
)
from remote_payload.agent.wire.session import Answer

INLINE = "inline"
"""Answered before the next frame is looked at: quick, or what later requests rely on."""
WORKER = "worker"
STREAM = "stream"
"""Has a thread of its own, because it may go on for days."""


class Method(NamedTuple):
    """A method: what does it, what it takes, how it runs."""

    run: Callable[..., Answer]
    args: Mapping[str, Arg]
    kind: str = WORKER


_WHICH = optional(one_of("log", "setup"), "log")
_ATTEMPT = optional(number(), 0)
_OFFSET = optional(number(), 0)
_ROOT = one_of("workdir", "outputs", "attempt")
_IDS = list_of(JOB, 10_000)

METHODS: Dict[str, Method] = {
    "hello": Method(
        methods_host.hello, {"controller": optional(TEXT, ""), "probe": optional(list_of(TEXT, 1000))}, INLINE
    ),
    "open": Method(methods_host.open_, {"profile": OBJECT}, INLINE),
    "ping": Method(methods_host.ping, {}, INLINE),
    "shutdown": Method(methods_host.shutdown, {}, INLINE),
    "gpus": Method(methods_host.gpus, {}),
    "facts": Method(methods_host.facts, {"deep": optional(FLAG, False), "python": optional(OBJECT)}),
    "resolve_python": Method(methods_host.resolve, {"python": OBJECT, "profile": optional(OBJECT)}),
    "adopt": Method(methods_host.adopt, {"host_id": optional(TEXT), "by": optional(TEXT, "")}, INLINE),
    "pause": Method(methods_host.pause, {"on": FLAG, "by": optional(TEXT, "")}),
    "autostart": Method(methods_host.autostart, {"on": FLAG}),
    "gc": Method(
        methods_host.gc,
        {"dry_run": optional(FLAG, False), "unpulled": optional(FLAG, False), "older_than": optional(SECONDS)},
    ),
    "have": Method(
        methods_code.have, {"snapshots": optional(list_of(SHA256), []), "blobs": optional(list_of(SHA256), [])}
    ),
    "put_pack": Method(
        methods_code.put_pack,
        {"submission": SUBMISSION, "size": number(), "index_size": number(1, 64 * 1024 * 1024), "sha256": SHA256},
        STREAM,
    ),
    "prepare": Method(methods_prepare.prepare, {}),
    "setup_log": Method(methods_prepare.setup_log, {"digest": SHA256, "offset": _OFFSET}, STREAM),
    "enqueue": Method(methods_code.enqueue, {"digest": SHA256}),
    "jobs": Method(
        methods_jobs.jobs,
        {
            "project": optional(TEXT),
            "submission": optional(SUBMISSION),
            "ids": optional(_IDS),
            "newest": optional(FLAG, False),
        },
    ),
    "status": Method(methods_jobs.status, {"project": optional(TEXT), "since": optional(SECONDS)}),
    "watch": Method(methods_jobs.watch, {"submission": optional(SUBMISSION), "ids": optional(_IDS)}, STREAM),
    "cancel": Method(methods_jobs.cancel, {"ids": _IDS, "by": optional(TEXT, "")}),
    "retry": Method(methods_jobs.retry, {"ids": _IDS, "request": TEXT}),
    "specs": Method(methods_move.specs, {"ids": _IDS}),
    "withdraw": Method(methods_move.withdraw, {"ids": _IDS, "request": SUBMISSION, "to": TEXT}),
    "read_blobs": Method(
        methods_move.read_blobs, {"hashes": list_of(SHA256, 100_000), "sizes": list_of(number(), 100_000)}, STREAM
    ),
    "prioritise": Method(
        methods_move.prioritise, {"ids": _IDS, "priority": number(-100, 100), "by": optional(TEXT, "")}
    ),
    "secrets": Method(methods_jobs.give_secrets, {"values": map_of(map_of(TEXT))}),
    "pulled": Method(methods_jobs.pulled, {"job": JOB, "attempt": number(), "to": optional(TEXT, "")}),
    "follow": Method(
        methods_follow.follow, {"job": JOB, "attempt": _ATTEMPT, "offset": _OFFSET, "which": _WHICH}, STREAM
    ),
    "read_log": Method(
        methods_follow.read_log,
        {
            "job": JOB,
            "attempt": _ATTEMPT,
            "which": _WHICH,
            "tail_lines": optional(number()),
            "offset": optional(number()),
            "max_bytes": optional(number(1)),
        },
    ),
    "outputs": Method(methods_files.outputs, {"job": JOB}),
    "read_file": Method(
        methods_files.read_file,
        {"job": JOB, "root": _ROOT, "path": TEXT, "offset": _OFFSET, "length": optional(number())},
        STREAM,
    ),
    "read_files": Method(methods_files.read_files, {"job": JOB, "files": list_of(FILE, 100_000)}, STREAM),
    "exec": Method(
        methods_exec.exec_,
        {"argv": list_of(TEXT, 10_000), "cwd": optional(TEXT), "job": optional(JOB)},
        STREAM,
    ),
}
