"""Taking waiting jobs to another host, as `orch move` does: written down, withdrawn, sent, each step repeated."""

from __future__ import annotations

from collections.abc import Sequence

from remote_payload.agent.wire.messages import Submission
from tests.faults.batch import Batch
from tests.faults.controller import Controller
from tests.faults.host import FaultyHost
from tests.harness.submitting import new_id


class Moving(Batch):
    """Some jobs of a batch on their way.

    Args:
        batch: they were submitted in.
        jobs: their ids.
        source, target: hosts.
    """

    def __init__(self, batch: Batch, jobs: Sequence[str], source: FaultyHost, target: FaultyHost) -> None:
        self.tree, self._tmp, self.spec, self.values = batch.tree, batch._tmp, batch.spec, {}
        self.id = new_id("s")
        self.specs = [spec for spec in batch.specs if spec["id"] in jobs]
        self.host = target.name
        self._source, self._target = source, target
        self._withdrawn = False

    @property
    def submission(self) -> Submission:
        """See Sent."""
        return {**super().submission, "moved_from": self._source.name}

    def step(self, controller: Controller) -> bool:
        """Go on as far as it works; True once it is done."""
        if not self._withdrawn:
            said = controller.ask(self._source, lambda link: link.withdraw(self.ids, self.id, self._target.name))
            if said is None:
                return False
            self.specs = [spec for spec in self.specs if spec["id"] in said["withdrawn"]]
            self._withdrawn = True
        if self.specs:
            if controller.ask(self._target, self.send) is None:
                return False
            controller.told.stored(self)
        return True
