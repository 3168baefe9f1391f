"""The library a script or notebook imports: one object that knows the laptop's state and reaches the hosts."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator.api.find import Located, each_once, is_id, match, newest_submission
from orchestrator.api.links import DEADLINE, Answer, Links
from orchestrator.errors import HostError, UnreachableError, UsageError
from orchestrator.hosts.inventory import HostEntry, Inventory
from orchestrator.paths import orch_home
from orchestrator.remote.agent_link import AgentLink
from orchestrator.remote.asker import Asker, SilentAsker
from orchestrator.store import Store
from remote_payload.agent.wire.messages import JobSpec, JobView

T = TypeVar("T")


class Orch:
    """Everything orch can do, for one project folder; prints nothing.

    Args:
        folder: the project's folder (where jobs.yaml stands).
        project: the project whose jobs are in sight; None = every project.
        asker: asks for trust and passwords; by default nobody is asked and what needs an answer is refused.
        home: ORCH_HOME; by default the environment's, else the platform's data folder.
        extra_hosts: hosts that jobs.yaml adds to the inventory.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        project: str | None = None,
        asker: Asker | None = None,
        home: Path | None = None,
        extra_hosts: Sequence[HostEntry] = (),
    ) -> None:
        self.home = home or orch_home()
        self.folder = (folder or Path.cwd()).resolve()
        self.project = project
        self.owner = getpass.getuser()
        self.store = Store(self.home / "orch.db")
        self.inventory = Inventory(self.home)
        self.extra_hosts = {entry.name: entry for entry in extra_hosts}
        self.links = Links(self.home, self.store, asker or SilentAsker())

    def close(self) -> None:
        """Close every connection and the store."""
        self.links.close()
        self.store.close()

    def __enter__(self) -> Orch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def hosts(self, names: Sequence[str] = ()) -> list[HostEntry]:
        """Return the hosts named, or every host known (inventory first, then the project's own).

        Raises:
            UsageError: a name is unknown, or there is no host at all.
        """
        if names:
            return [self.extra_hosts.get(name) or self.inventory.get(name) for name in names]
        known = {entry.name: entry for entry in self.inventory.list()} | self.extra_hosts
        return list(known.values()) or self.inventory.require_any()

    def host(self, name: str) -> HostEntry:
        """Return one host by name."""
        return self.hosts([name])[0]

    def link(self, name: str) -> AgentLink:
        """Return the open link to a host."""
        return self.links.open(self.host(name))

    def ask(
        self, work: Callable[[AgentLink], T], hosts: Sequence[str] = (), deadline: float = DEADLINE
    ) -> dict[str, Answer[T]]:
        """Put one question to many hosts at once (see Links.each)."""
        return self.links.each(self.hosts(hosts), work, deadline)

    def jobs(self, hosts: Sequence[str] = (), *, newest: bool = False) -> tuple[list[Located], dict[str, HostError]]:
        """Return every job in sight and what went wrong at the hosts that did not answer.

        Jobs of an unreachable host are the ones last seen there, marked with when.

        Args:
            hosts: names; by default all.
            newest: of each host that answers, only its newest submission.
        """
        answers = self.ask(lambda link: link.jobs(project=self.project, newest=newest), hosts)
        found: list[Located] = []
        errors: dict[str, HostError] = {}
        for name, answer in answers.items():
            if answer.value is not None:
                self.remember(name, answer.value)
                found.extend(Located(name, view) for view in answer.value)
            else:
                errors[name] = _host_error(name, answer)
                found.extend(self.cached(name))
        return each_once(found, self.store.sent_to), errors

    def newest(self) -> list[Located]:
        """Return the jobs of the newest submission in sight ([] when there is none)."""
        return newest_submission(self.jobs(newest=True)[0])

    def cached(self, host: str) -> list[Located]:
        """Return the jobs last seen on a host."""
        views = self.store.cached_views(host=host, project=self.project)
        kept = {each.job for each in self.store.kept_cancels(host)}
        return [Located(name, view, seen_at, view["id"] in kept) for name, view, seen_at in views]

    def remember(self, host: str, views: Sequence[JobView]) -> None:
        """Keep what a host said, for when it cannot be reached."""
        # What was moved away is remembered where it is now.
        self.store.save_views(host, [view for view in views if view["reason"] != "moved"], time.time())

    def first_view(self, spec: JobSpec) -> JobView:
        """Return the view of a job that was just acknowledged, before the host has said more."""
        return {
            "id": spec["id"], "name": spec["name"], "job": spec["job"], "project": spec["project"],
            "submission": spec["submission"], "owner": spec["owner"], "params": spec["params"], "state": "PENDING",
            "reason": None, "detail": "", "waiting_for": "queued", "attempt": 0, "attempts": [], "exit_code": None,
            "signal": None, "submitted_at": spec["submitted_at"], "started_at": None, "ended_at": None, "gpus": [],
            "progress": None, "path": "", "pull": spec["pull"], "env_digest": None, "hints": [],
        }  # fmt: skip

    def find(self, words: Sequence[str], hosts: Sequence[str] = ()) -> list[Located]:
        """Return the jobs that JOB words name. Ids are found in every project: they mean one job wherever one stands.

        Raises:
            UsageError: a word names nothing in sight.
            HostError: it names nothing known, and a host that may know it did not answer.
        """
        jobs, errors = self.jobs(hosts)
        try:
            return match(words, jobs)
        except UsageError as error:
            if self.project is not None and all(map(is_id, words)):
                self.project = None
                return self.find(words, hosts)
            if errors:
                silent = ", ".join(sorted(errors))
                raise UnreachableError(
                    f"{error} ({silent} did not answer)", next(iter(errors.values())).hint
                ) from error
            raise


def _host_error(name: str, answer: Answer[list[JobView]]) -> HostError:
    if isinstance(answer.error, HostError):
        return answer.error
    return HostError(str(answer.error), host=name)
