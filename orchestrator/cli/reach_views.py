"""`orch ssh` and `orch forward`."""

from __future__ import annotations

import shlex
import subprocess

from orchestrator.api import Orch
from orchestrator.api.hosts import Forward, ssh_argv
from orchestrator.cli.console import say
from orchestrator.cli.opening import opened
from orchestrator.errors import EXIT_INTERRUPT, UsageError
from orchestrator.hosts.inventory import HostEntry
from remote_payload.agent.wire.messages import JobView


def _where(orch: Orch, word: str) -> tuple[HostEntry, JobView | None]:
    if word in {entry.name for entry in orch.hosts()}:
        return orch.host(word), None
    jobs = orch.find([word])
    if len(jobs) != 1:
        raise UsageError(f"{word} names {len(jobs)} jobs", "Name one of them, or a host.")
    return orch.host(jobs[0].host), jobs[0].view


def ssh(word: str) -> int:
    """Do `orch ssh`: the system's ssh, with orch's own known hosts; for a job, a shell in its workdir."""
    with opened() as orch:
        entry, view = _where(orch, word)
        if entry.ssh == "local":
            raise UsageError(f"{entry.name} is this machine", "Open a terminal.")
        argv = ssh_argv(orch, entry)
    if view is not None:
        # The one command line that must be text: ssh gives it to the login shell there.
        folder = shlex.quote(view["path"] + "/workdir")
        argv += ["-t", f"cd {folder} && exec $SHELL -l"]
    return subprocess.call(argv)


def forward(word: str, ports: str) -> int:
    """Do `orch forward`."""
    here, there = _ports(ports)
    with opened() as orch:
        entry, _ = _where(orch, word)
        if entry.ssh == "local":
            raise UsageError(f"{entry.name} is this machine", f"Port {there} is here already.")
        with Forward(orch, entry, here, there) as tunnel:
            say(f"http://127.0.0.1:{tunnel.port} is port {there} of {entry.name}; Ctrl-C ends it", "green")
            try:
                tunnel.serve()
            except KeyboardInterrupt:
                return EXIT_INTERRUPT
    return 0


def _ports(text: str) -> tuple[int, int]:
    first, colon, second = text.partition(":")
    try:
        here, there = int(first), int(second if colon else first)
    except ValueError:
        raise UsageError(f"{text!r} is not PORT or PORT:REMOTE", "For example 6007 or 8080:80.") from None
    if not (0 <= here < 65536 and 0 < there < 65536):
        raise UsageError(f"{text!r}: ports go from 1 to 65535")
    return here, there
