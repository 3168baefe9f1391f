"""Can jobs run there? Facts from the host turned into findings: one sentence and one remedy each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.api.core import Orch
from orchestrator.api.queues import QueueState, queue_state, troubles
from orchestrator.errors import OrchError
from orchestrator.remote.agent_link import AgentLink
from orchestrator.spec.expand import ExpandedJob

LOW_DISK = 2 * 1000**3
LOW_INODES = 10_000
NO_TORCH = "No module named 'torch'"


@dataclass(frozen=True)
class Finding:
    """level: warning or refusal; text says what is, remedy what to do."""

    level: str
    text: str
    remedy: str


@dataclass
class HostCheck:
    """What the check of one host found; facts is None when the host could not be reached."""

    name: str
    connect_ms: int | None = None
    facts: Mapping[str, Any] | None = None
    error: OrchError | None = None
    findings: list[Finding] = field(default_factory=list)


def check_hosts(orch: Orch, hosts: Sequence[str], jobs: Sequence[ExpandedJob], deadline: float) -> list[HostCheck]:
    """Check hosts all at once; a dead one costs its own deadline only.

    Args:
        hosts: names; by default all.
        jobs: the jobs of this folder: their Python is tried for torch (the first job's), their GPUs are compared.
        deadline: seconds a host may take.
    """
    python = dict(jobs[0].python) if jobs else {"kind": "auto"}

    def ask(link: AgentLink) -> tuple[Mapping[str, Any], float, QueueState]:
        return (
            link.facts(deep=True, python=python),
            link.connect_seconds,
            queue_state(orch, link, link.status(since=time.time())),
        )

    found = []
    for name, answer in orch.ask(ask, hosts, deadline).items():
        one = HostCheck(name, error=answer.error)
        if answer.value is not None:
            one.facts, seconds, queue = answer.value
            one.connect_ms = round(seconds * 1000)
            one.findings = judge(one.facts, jobs)
            one.findings += [Finding("warning", text, remedy) for text, remedy in troubles(name, queue)]
        found.append(one)
    return found


def judge(facts: Mapping[str, Any], jobs: Sequence[ExpandedJob]) -> list[Finding]:
    """Return what is wrong or doubtful about a host, worst first. Pure."""
    findings = [*_gpu_findings(facts, jobs), *_python_findings(facts), *_disk_findings(facts), *_logout_findings(facts)]
    findings += [Finding("warning", text, "") for text in facts.get("warnings", [])]
    return sorted(findings, key=lambda finding: finding.level != "refusal")


def _gpu_findings(facts: Mapping[str, Any], jobs: Sequence[ExpandedJob]) -> list[Finding]:
    table = facts["gpu"]
    usable = [gpu for gpu in table["gpus"] if gpu["usable"]]
    wanted = max((job.gpus for job in jobs if isinstance(job.gpus, int)), default=0)
    if wanted > len(usable):
        text = f"a job asks for {wanted} GPU(s) and this host has {len(usable)} usable."
        return [Finding("refusal", text, "Lower `resources: gpus`, or choose another host.")]
    if facts.get("no_gpu_mode"):
        return [
            Finding("warning", "the machine runs without its GPU (no-GPU mode).", "Switch it on with a GPU to train.")
        ]
    remedies = {
        "no_tool": ("nvidia-smi is not there: this is a CPU host.", "Jobs run on the CPU."),
        "no_device": (
            "the driver is there but shows no GPU.",
            "Start the machine with a GPU, or pass one into the container.",
        ),
        "driver_broken": (
            f"the NVIDIA driver does not work: {table['message']}",
            "Restart the machine, or ask its owner.",
        ),
        "timeout": ("nvidia-smi hangs.", "The driver is stuck: restart the machine."),
    }
    if table["state"] in remedies:
        return [Finding("warning", *remedies[table["state"]])]
    return [
        Finding("warning", f"GPU {gpu['index']} cannot be used: {gpu['note']}.", "Jobs leave it alone.")
        for gpu in table["gpus"]
        if not gpu["usable"]
    ]


def _python_findings(facts: Mapping[str, Any]) -> list[Finding]:
    torch = facts["torch"]
    usable = [gpu for gpu in facts["gpu"]["gpus"] if gpu["usable"]]
    if not torch["checked"]:
        return []
    if torch["error"] and NO_TORCH not in torch["error"]:
        # Absent is fine (a job may use JAX, or nothing); there and unable to be imported is not.
        return [Finding("warning", f"torch is there but broken: {torch['error']}.", "Install it anew.")]
    if usable and torch["version"] and not torch["available"]:
        text = f"torch {torch['version']} does not see the GPU (torch.cuda.is_available() is False)."
        return [Finding("warning", text, "Install a CUDA build of torch that fits the driver.")]
    return []


def _logout_findings(facts: Mapping[str, Any]) -> list[Finding]:
    logout = facts.get("logout")
    # With lingering the queue is started outside the login session.
    if not logout or not logout["kills"] or logout["linger"]:
        return []
    text = f"it ends the processes of {facts['user']} at logout (KillUserProcesses in logind.conf), jobs too."
    return [Finding("warning", text, "Once, on the host: loginctl enable-linger")]


def _disk_findings(facts: Mapping[str, Any]) -> list[Finding]:
    disk = facts["disk"]
    findings = []
    if disk["free"] is not None and disk["free"] < LOW_DISK:
        findings.append(
            Finding("warning", f"little disk is left at {disk['path']}.", "`orch gc`, or clear caches there.")
        )
    if disk["inodes_free"] is not None and (disk["inodes_total"] or 0) > 0 and disk["inodes_free"] < LOW_INODES:
        findings.append(
            Finding("warning", f"few inodes are left at {disk['path']}.", "Remove folders of many small files.")
        )
    return findings
