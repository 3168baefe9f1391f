"""After the faults: everything interrupted is sent again, every host comes to rest, and the reader looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import HostError
from remote_payload.agent.spool.states import FINAL_STATES
from tests.faults.controller import Controller, Told, results_of
from tests.faults.host import FaultyHost
from tests.faults.jobs import Witness
from tests.faults.reader import at_rest, wrong_logs, wrong_results
from tests.faults.spoolfiles import read_spool
from tests.harness.waiting import wait_until

REST_SECONDS = 90.0


def settle(hosts: Sequence[FaultyHost], controllers: Sequence[Controller], seconds: float = REST_SECONDS) -> list[str]:
    """Wait until nothing is left to do anywhere; return what did not come to rest."""
    stuck = []
    for host in hosts:

        def rests(host: FaultyHost = host) -> bool:
            return _rests(host, controllers)

        try:
            wait_until(rests, seconds, host.name)
        except AssertionError:
            stuck.append(f"{host.name} does not come to rest: {_open_jobs(host)}\n{host.trouble()}")
    return stuck


def look(hosts: Sequence[FaultyHost], told: Told, witness: Witness, laptop: Path | None = None) -> list[str]:
    """Return every violation on hosts at rest. laptop: a folder to pull all results to, None to leave that out."""
    found = [*told.odd, *at_rest({host.name: host.root for host in hosts}, told.acknowledged, witness)]
    for host in hosts:
        spool = read_spool(host.root, host.name)
        found += wrong_logs(spool, told.shown)
        if laptop is not None:
            with host.link() as link:
                folders = results_of(link, laptop / host.name)
            for job, folder in folders.items():
                found += wrong_results(spool.jobs[job], folder)
    return found


def _rests(host: FaultyHost, controllers: Sequence[Controller]) -> bool:
    for controller in controllers:
        controller.adopt(host)
        controller.finish(host)
    try:
        # Connecting starts a keeper where one is missing, as the next command of a person does.
        with host.link() as link:
            if any(view["state"] not in FINAL_STATES for view in link.jobs()):
                return False
    except HostError:
        return False
    pending = any(each.moves or any(one.host == host.name for one in each.pending) for each in controllers)
    return not pending and host.is_idle()


def _open_jobs(host: FaultyHost) -> str:
    jobs = read_spool(host.root).jobs.values()
    return ", ".join(f"{job.id} ({job.spec['job']}, {len(job.attempts)} tries)" for job in jobs if not job.over)
