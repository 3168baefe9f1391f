"""init, schema and gc."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cli.console import OUT, emit, of_host, say, size, table
from orchestrator.cli.opening import JOBS_FILE, opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_OK, RefusedError
from orchestrator.spec.durations import parse_duration
from orchestrator.spec.schema import json_schema
from orchestrator.spec.template import starter


def init(force: bool) -> int:
    """Do `orch init`."""
    if JOBS_FILE.exists() and not force:
        raise RefusedError("jobs.yaml is here already", "Edit it, or replace it with --force.")
    JOBS_FILE.write_text(starter(Path.cwd()), encoding="utf-8", newline="\n")
    say("wrote jobs.yaml; look it over, then: orch submit jobs.yaml", "green")
    return EXIT_OK


def schema() -> int:
    """Do `orch schema`."""
    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return EXIT_OK


def gc(hosts: Sequence[str], dry_run: bool, unpulled: bool, older_than: str) -> int:
    """Do `orch gc`."""
    seconds = parse_duration(older_than)
    with opened() as orch:
        answers = orch.ask(lambda link: link.gc(dry_run=dry_run, unpulled=unpulled, older_than=seconds), hosts, 300.0)
    rows = []
    for name, answer in answers.items():
        if answer.value is None:
            say(of_host(name, answer.error.message if answer.error else ""), "red")
            continue
        rows += [(name, item["what"], size(item["bytes"]), item["path"]) for item in answer.value["removed"]]
        say(f"{name}: {'would free' if dry_run else 'freed'} {size(answer.value['freed'])}")
    if GLOBALS.json:
        emit({name: answer.value for name, answer in answers.items()})
    elif rows:
        OUT.print(table("", ("host", "what", "bytes", "path"), rows))
    return EXIT_HOST if any(answer.error for answer in answers.values()) else EXIT_OK
