"""`orch host pause|resume|adopt|autostart`: a host's queue as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api import Orch, queues
from orchestrator.cli import ask
from orchestrator.cli.console import counted, emit, say
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_OK, RefusedError, UsageError


def pause(names: Sequence[str], on: bool) -> int:
    """Do `orch host pause` and `orch host resume`."""
    with opened() as orch:
        paused = queues.pause(orch, names, on)
        for name, now in paused.items():
            if now:
                say(f"{name} is paused: what runs goes on, nothing new starts. Back: orch host resume {name}")
            else:
                say(f"{name} is not paused: its queue goes on")
        if GLOBALS.json:
            emit([{"host": name, "paused": now} for name, now in paused.items()])
        return EXIT_OK


def adopt(name: str, host_id: str | None, yes: bool) -> int:
    """Do `orch host adopt`."""
    with opened() as orch:
        chosen = _chosen(orch, name, host_id)
        if chosen is None:
            say(f"the queue on {name} is its own already")
            root, adopted = orch.link(name).opened["root"], False
        else:
            whose, where, jobs = chosen
            if not yes:
                ask.confirm(
                    f"The queue of {whose} at {where} becomes {name}'s: its {counted(jobs, 'unfinished job')} go on "
                    "here, and never again on the other host. Go on?"
                )
            root, adopted = queues.adopt(orch, name, whose), True
            say(f"the queue at {root} is {name}'s now, and goes on", "green")
        if GLOBALS.json:
            emit({"host": name, "root": root, "adopted": adopted})
        return EXIT_OK


def autostart(name: str, on: bool) -> int:
    """Do `orch host autostart`."""
    with opened() as orch:
        said = orch.link(name).autostart(on)
        if GLOBALS.json:
            emit({"host": name, **said})
        if on and said["kind"] == "none":
            raise RefusedError(f"{name}: {said['sentence']}", "Its queue goes on when anyone connects: orch status.")
        say(f"{name}: {said['sentence']}")
        return EXIT_OK


def _chosen(orch: Orch, name: str, host_id: str | None) -> tuple[str, str, int] | None:
    """Return whose queue to take, where it lies and how many jobs of it have not ended; None = nothing to do.

    Raises:
        UsageError: there are several to choose from, or none of that host.
    """
    spool = orch.link(name).opened
    if spool["moved"] and host_id in (None, spool["owner"]):
        return spool["owner"], spool["root"], spool["jobs_live"]
    if host_id is None and spool["others"]:
        there = ", ".join(f"{each['host_id']} ({counted(each['jobs_live'], 'live job')})" for each in spool["others"])
        raise UsageError(f"{name} has its own queue; whose is to take its place?", f"Name it with --from: {there}.")
    if host_id in (None, spool["host_id"]):
        return None
    for each in spool["others"]:
        if each["host_id"] == host_id:
            return each["host_id"], each["root"], each["jobs_live"]
    raise UsageError(f"there is no queue of {host_id} on {name}")
