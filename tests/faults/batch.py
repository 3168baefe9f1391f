"""One submission of many hard jobs, sent as `orch submit` does and as often as it takes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from remote_payload.agent.wire.messages import JobSpec, Submission
from tests.faults.jobs import Planned, Witness, command
from tests.harness.submitting import Sent, job_spec


class Batch(Sent):
    """Some jobs for one host.

    Args:
        code: the code tree.
        planned: what they do.
        witness: where they tell.
        host: the host's name.
        python: the interpreter they are to have (a path: nothing is looked for).
        dice: chooses which need others.
    """

    def __init__(
        self, code: Path, planned: Sequence[Planned], witness: Witness, host: str, python: str, dice: random.Random
    ) -> None:
        super().__init__(code, "true")
        self.host = host
        self.specs: list[JobSpec] = []
        for job in planned:
            found: JobSpec = job_spec(
                self.id,
                self.tree.snapshot_id,
                command(job, witness),
                job=job.kind,
                name=f"{job.kind}-{len(self.specs)}",
                python={"kind": "path", "path": python},
                **job.changes,
            )
            if self.specs and dice.random() < 0.15:
                needed = dice.choice(self.specs)
                found["needs"] = [{"job": needed["name"], "ids": [needed["id"]]}]
            self.specs.append(found)

    @property
    def ids(self) -> list[str]:
        """The jobs' ids."""
        return [spec["id"] for spec in self.specs]

    @property
    def submission(self) -> Submission:
        """See Sent."""
        return {**super().submission, "jobs": self.specs}
