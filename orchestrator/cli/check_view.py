"""`orch check`: one row a host, and under it what to fix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from orchestrator.api.check import NO_TORCH, HostCheck, check_hosts
from orchestrator.cli.console import OUT, emit, of_host, plain, size, table
from orchestrator.cli.opening import JOBS_FILE, opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_OK, EXIT_REFUSED
from orchestrator.spec.expand import load_jobs_file
from remote_payload.agent.wire.messages import GpuView

FREE_MIB, FREE_PCT = 500, 5
"""What an idle GPU may show; the same bounds the host's queue uses."""

STYLE = {"ok": "green", "warning": "yellow", "refusal": "red"}


def check(hosts: Sequence[str], accept_new: bool, deadline: float) -> int:
    """Do `orch check`."""
    file = load_jobs_file(JOBS_FILE) if JOBS_FILE.exists() else None
    with opened(file, accept_new=accept_new) as orch:
        checks = check_hosts(orch, hosts, file.jobs if file else [], deadline)
    if GLOBALS.json:
        emit({"schema_version": 1, "hosts": [as_json(one) for one in checks]})
    else:
        OUT.print(
            table("", ("host", "", "ms", "login", "os", "python", "gpu", "disk free", "cpu", "ram"), map(_row, checks))
        )
        for one in checks:
            _details(one)
    if any(one.error for one in checks):
        return EXIT_HOST
    return EXIT_REFUSED if any(f.level == "refusal" for one in checks for f in one.findings) else EXIT_OK


def as_json(one: HostCheck) -> dict[str, Any]:
    """Return one host's check as JSON."""
    return {
        "name": one.name,
        "reachable": one.error is None,
        "error": one.error.message if one.error else None,
        "connect_ms": one.connect_ms,
        "facts": one.facts,
        "findings": [{"level": f.level, "text": f.text, "remedy": f.remedy} for f in one.findings],
    }


def _row(one: HostCheck) -> Sequence[object]:
    facts = one.facts
    if one.error or facts is None:
        return one.name, Text("unreachable", style="red"), "", "", "", "", "", "", "", ""
    worst = "refusal" if any(f.level == "refusal" for f in one.findings) else "warning" if one.findings else "ok"
    gpus = facts["gpu"]["gpus"]
    kinds: dict[str, int] = {}
    for gpu in gpus:
        kinds[gpu["name"]] = kinds.get(gpu["name"], 0) + 1
    gpu_text = ", ".join(f"{count} x {name}" for name, count in kinds.items()) or "none"
    memory = facts["memory"]["limit"] or facts["memory"]["total"] or 0
    login, free = f"{facts['user']}@{facts['hostname']}", size(facts["disk"]["free"] or 0)
    os_name, python = _short_os(facts["os"]), facts["python"]["version"]
    return (
        one.name, Text(worst, style=STYLE[worst]), one.connect_ms, login, os_name, python,
        gpu_text, free, f"{facts['cpu']['quota']:g}", size(memory),
    )  # fmt: skip


def _details(one: HostCheck) -> None:
    if one.error:
        OUT.print(plain(f"\n{of_host(one.name, one.error.message)}", "red"))
        if one.error.hint:
            OUT.print(plain(f"  {one.error.hint}"))
        return
    facts = one.facts or {}
    OUT.print(plain(f"\n{one.name}", "bold"))
    for gpu in facts["gpu"]["gpus"]:
        driver = f"driver {gpu['driver']}" + (f", CUDA {facts['gpu']['cuda']}" if facts["gpu"]["cuda"] else "")
        memory = f"{_or(gpu['memory_used_mib'])} / {_or(gpu['memory_total_mib'])} MiB"
        OUT.print(plain(f"  GPU {gpu['index']} {gpu['name']}: {memory}, {_owner(gpu, facts)}, {driver} {gpu['note']}"))
    conda = ", ".join(f"{env['name']} ({env['prefix']})" for env in facts["conda"])
    OUT.print(plain(f"  conda: {conda or 'none found'}"))
    torch = facts["torch"]
    if torch["checked"]:
        OUT.print(plain(f"  torch: {_torch(torch)} ({torch['python']})"))
    inodes = facts["disk"]["inodes_free"]
    OUT.print(plain(f"  spool disk: {facts['disk']['path']}, {size(facts['disk']['free'] or 0)}, {inodes} inodes free"))
    for finding in one.findings:
        OUT.print(plain(f"  {finding.level}: {finding.text} {finding.remedy}", STYLE[finding.level]))


def _short_os(name: str) -> str:
    return re.sub(r" \([^)]*\)$", "", name.replace(" GNU/Linux", ""))


def _torch(torch: Mapping[str, Any]) -> str:
    if torch["version"]:
        return f"{torch['version']}, torch.cuda.is_available() is {torch['available']}"
    if torch["error"] and NO_TORCH not in torch["error"]:
        return f"broken: {torch['error']}"
    return "not installed, but jax is: " + torch["jax"] if torch["jax"] else "not installed"


def _or(value: object) -> str:
    return "?" if value is None else str(value)


def _owner(gpu: GpuView, facts: Mapping[str, Any]) -> str:
    """Say whether a GPU is free, and by whom it is used where that can be seen. Unknown is never free."""
    if not gpu["usable"]:
        return "unusable"
    if gpu["leased_to"]:
        return f"job {gpu['leased_to']}"
    names = {
        f"{process['name']}{' of ' + process['user'] if process.get('user') else ''}"
        for process in facts.get("gpu_processes") or []
        if process["uuid"] == gpu["uuid"]
    }
    if gpu["memory_used_mib"] is None:
        return "use unknown"
    if gpu["memory_used_mib"] <= FREE_MIB and (gpu["utilization_pct"] or 0) < FREE_PCT:
        return "free"
    return f"used by {', '.join(sorted(names)) or 'processes that cannot be seen from here'}"
