"""An interrupted submit: finished with the code it was made of, or forgotten. Nothing runs twice either way."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.api.core import Orch
from orchestrator.api.move import SecretValues
from orchestrator.api.move import finish as finish_move
from orchestrator.api.submit import SentBytes, hand_over, pack_request
from orchestrator.errors import RefusedError
from orchestrator.ship.scan import Tree
from orchestrator.store import ACKED, DROPPED, PLANNED, SENT, SubmissionRow


def drop(orch: Orch, row: SubmissionRow) -> list[str]:
    """Forget what was not acknowledged; returns the hosts that may have it all the same.

    A part that was being sent when the line broke may be queued there: the host is the one to ask.
    """
    if is_move(orch, row):
        raise RefusedError(
            f"{row.id} is a move: its jobs wait nowhere until it is finished", "Finish it: orch submit --resume."
        )
    uncertain = [host for host, state in row.hosts.items() if state == SENT]
    for host, state in row.hosts.items():
        if state != ACKED:
            orch.store.mark(row.id, host, DROPPED)
    return uncertain


def settle(orch: Orch, sid: str) -> SubmissionRow | None:
    """Return what became of a submit that Ctrl-C stopped; None when it left nothing anywhere and is forgotten."""
    row = next((row for row in orch.store.submissions() if row.id == sid), None)
    if row is None or any(state in (SENT, ACKED) for state in row.hosts.values()):
        return row
    drop(orch, row)
    return None


def is_move(orch: Orch, row: SubmissionRow) -> bool:
    """Return whether a submission takes waiting jobs to another host."""
    return any("moved_from" in part for part in orch.store.frozen(row.id).values())


def resume_move(orch: Orch, row: SubmissionRow, values: SecretValues) -> list[str]:
    """Finish a move; returns the ids of the jobs that wait on their new host now.

    Args:
        values: finds secrets on the laptop.

    Raises:
        HostError: a host cannot be reached; may be tried again.
    """
    moved = []
    for host, submission in orch.store.frozen(row.id).items():
        if row.hosts.get(host) not in (ACKED, DROPPED):
            moved += finish_move(orch, submission, host, values, row.hosts.get(host, PLANNED))
    return moved


def resume(
    orch: Orch,
    row: SubmissionRow,
    trees: Mapping[str, Tree],
    values: Mapping[str, str],
    progress: SentBytes | None = None,
) -> list[str]:
    """Send what was not acknowledged, under the ids it had; returns the hosts that have it now.

    Args:
        trees: today's code by snapshot id.
        values: secrets found on the laptop, by name.

    Raises:
        RefusedError: the code changed since, so the frozen jobs cannot be sent any more.
        HostError: a host cannot be reached; the rest may be tried again.
    """
    done = []
    for host, submission in orch.store.frozen(row.id).items():
        if row.hosts.get(host) in (ACKED, DROPPED):
            continue
        wanted = {job["snapshot"] for job in submission["jobs"]}
        if not wanted <= set(trees):
            raise RefusedError(
                f"the code changed since {row.id} was made, so it cannot be finished",
                "orch submit --drop forgets it; then submit again.",
            )
        mine = {snapshot: trees[snapshot] for snapshot in wanted}
        secrets = {
            job["id"]: {one["name"]: values[one["name"]] for one in job["secrets"] if one["name"] in values}
            for job in submission["jobs"]
        }
        request = pack_request(submission, {key: tree.manifest for key, tree in mine.items()}, secrets)
        hand_over(orch, orch.link(host), request, mine, progress)
        done.append(host)
    return done
