"""Which host gets which job of a submission: the hosts are asked what room they have, then the plan decides."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from orchestrator.api.core import Orch
from orchestrator.api.freeze import Frozen, FrozenJob
from orchestrator.errors import RefusedError
from orchestrator.hosts.gpu_speed import speed
from orchestrator.plan import HostLoad, Wish, place
from orchestrator.remote.link_types import Status
from orchestrator.spec.jobs import HostEntry
from orchestrator.spec.needs import together
from remote_payload.agent.wire.messages import GpuView, JobSpec

CERTAIN = frozenset({"ok", "no_tool", "no_device"})
"""States of a GPU table that tell what the host has; the others say that it cannot be seen now."""
FREE_MIB = 500
"""A GPU with more memory in use is somebody's."""


def arrange(orch: Orch, frozen: Frozen) -> dict[str, str]:
    """Return {job id: host}; hosts are asked only where there is a choice, or a wish that one may never meet.

    Raises:
        RefusedError: no host can ever run one of the jobs.
        HostError: a job's only host does not answer.
    """
    wishes = [wish_of(job.spec, job.hosts) for job in frozen.jobs]
    if all(len(wish.hosts) == 1 and not _particular(wish) for wish in wishes):
        return {wish.key: wish.hosts[0] for wish in wishes}
    names = sorted({name for wish in wishes for name in wish.hosts})
    loads: dict[str, HostLoad] = {}
    errors: dict[str, Exception] = {}
    for name, answer in orch.ask(lambda link: link.status(since=time.time()), names).items():
        if answer.value is not None:
            loads[name] = load_of(orch.host(name), answer.value)
        elif answer.error is not None:
            errors[name] = answer.error
    if not loads and len(errors) == 1:
        raise next(iter(errors.values()))
    named = {job.spec["id"]: job.spec["name"] for job in frozen.jobs}
    try:
        return place(_bound(frozen.jobs, wishes), loads)
    except RefusedError as error:
        text = error.message
        for job_id, name in named.items():
            text = text.replace(job_id, name)
        raise RefusedError(text, error.hint) from error


def load_of(entry: HostEntry, status: Status) -> HostLoad:
    """Return what a host's status says of the room there is.

    Args:
        entry: the host; its `gpus` and `max_gpus` say what jobs may use.
        status: its answer.
    """
    table = status["gpus"]
    gpus = [gpu for gpu in table["gpus"] if gpu["usable"] and (entry.gpus is None or gpu["index"] in entry.gpus)]
    live = [job for job in status["jobs"] if job["state"] in ("PENDING", "STARTING", "RUNNING")]
    free = sum(1 for gpu in gpus if _is_free(gpu))
    if entry.max_gpus is not None:
        free = max(0, min(free, entry.max_gpus - sum(1 for gpu in gpus if gpu["leased_to"])))
    return HostLoad(
        entry.name,
        tuple(gpu["memory_total_mib"] for gpu in gpus),
        free,
        len(live),
        tuple(gpu["name"] for gpu in gpus),
        min((speed(gpu["name"]) for gpu in gpus), default=0.0),
        entry.max_gpus,
        "" if table["state"] in CERTAIN else table["message"],
    )


def wish_of(spec: JobSpec, hosts: Sequence[str]) -> Wish:
    """Return what a job asks for, as the placement sees it."""
    return Wish(spec["id"], tuple(hosts), spec["gpus"], spec["gpu_memory_mib"], spec.get("gpu_type") or "")


def _is_free(gpu: GpuView) -> bool:
    return not gpu["leased_to"] and (gpu["memory_used_mib"] or 0) < FREE_MIB


def _particular(wish: Wish) -> bool:
    """Tell whether a host may never be able to run it."""
    return bool(wish.gpu_memory_mib or wish.gpu_type) or wish.gpus not in ("auto", 0)


def _bound(jobs: Sequence[FrozenJob], wishes: Sequence[Wish]) -> list[Wish]:
    """Return the wishes with what is bound by `needs` marked: it goes to one host."""
    bound = together([job.expanded for job in jobs])
    members = Counter(bound.values())
    return [
        wish if members[bound[job.expanded.job]] == 1 else wish.of_group(bound[job.expanded.job])
        for job, wish in zip(jobs, wishes, strict=True)
    ]
