"""A link's methods about jobs."""

from __future__ import annotations

import secrets as random
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from orchestrator.remote.link_base import LinkBase, given, number, unpacked
from orchestrator.remote.link_types import Enqueued, LogPart, LogPiece, Status, Withdrawn
from remote_payload.agent.wire.messages import JobSpec, JobView, Manifest

ENQUEUE_TIMEOUT = 300.0
"""Seconds; the request itself may be megabytes over a slow line."""


class JobMethods(LinkBase):
    """Queueing, looking, following, changing. Each method may raise AgentError and UnreachableError."""

    def enqueue(self, digest: str, body: bytes) -> Enqueued:
        """Hand over a submission; acknowledged means that it is durable there.

        Args:
            digest: SHA-256 of the submission's canonical JSON.
            body: zlib'd JSON {submission, manifests, secrets}.

        Raises:
            AgentError: `conflict` when the same id was stored with another digest.
        """
        return cast(Enqueued, self.rpc.call("enqueue", body, ENQUEUE_TIMEOUT, digest=digest).result)

    def jobs(
        self,
        project: str | None = None,
        submission: str | None = None,
        ids: Sequence[str] | None = None,
        newest: bool = False,
    ) -> list[JobView]:
        """Return jobs, those of the newest submission first. newest: of no other one."""
        chosen = None if ids is None else list(ids)
        args = given(project=project, submission=submission, ids=chosen, newest=newest or None)
        return cast("list[JobView]", self.rpc.call("jobs", **args).result["jobs"])

    def status(self, project: str | None = None, since: float | None = None) -> Status:
        """Return GPUs, jobs, disk and load in one round trip.

        Args:
            since: leave out jobs that ended before, as far as the host knows without looking (seconds since the epoch).
        """
        return cast(Status, self.rpc.call("status", **given(project=project, since=since)).result)

    def watch(self, ids: Sequence[str] | None = None, submission: str | None = None) -> Iterator[list[JobView]]:
        """Yield the jobs that changed, all of them at first; ends when all are final."""
        args = given(ids=None if ids is None else list(ids), submission=submission)
        with self.rpc.stream("watch", **args) as stream:
            for frame in stream:
                yield frame.header["jobs"]

    def follow(self, job: str, attempt: int = 0, offset: int = 0, which: str = "log") -> Iterator[LogPiece]:
        """Yield a job's log as it grows; ends when the job is final and every byte was yielded.

        Args:
            job: its id.
            attempt: where to begin; 0 is the newest. Later attempts follow by themselves.
            offset: bytes of that attempt already seen.
            which: `log` or `setup`.
        """
        with self.rpc.stream("follow", job=job, attempt=attempt, offset=offset, which=which) as stream:
            for frame in stream:
                ended = frame.header.get("view")
                offset = 0 if ended else number(frame, "offset", self.name)
                yield LogPiece(number(frame, "attempt", self.name), offset, frame.body, ended)

    def read_log(
        self,
        job: str,
        attempt: int = 0,
        which: str = "log",
        tail_lines: int | None = None,
        offset: int | None = None,
        max_bytes: int | None = None,
    ) -> LogPart:
        """Return a part of a log as it is now: its last lines, or what stands at an offset.

        Args:
            job, attempt, which: as for `follow`.
            tail_lines: only so many last lines.
            offset: where to begin, in bytes.
            max_bytes: at most so much.
        """
        args = given(job=job, attempt=attempt, which=which, tail_lines=tail_lines, offset=offset, max_bytes=max_bytes)
        reply = self.rpc.call("read_log", **args)
        return LogPart(reply.result["attempt"], reply.result["offset"], reply.result["size"], reply.body)

    def cancel(self, ids: Sequence[str], by: str) -> dict[str, str]:
        """Ask for jobs to be ended; return each one's state. `by` is shown to people."""
        return cast("dict[str, str]", self.rpc.call("cancel", ids=list(ids), by=by).result["jobs"])

    def retry(self, ids: Sequence[str], request: str | None = None) -> dict[str, str]:
        """Allow ended jobs one more attempt; return each one's state.

        Args:
            ids: the jobs.
            request: names this wish, so that repeating the call after a lost reply changes nothing.
        """
        request = request or random.token_hex(8)
        return cast("dict[str, str]", self.rpc.call("retry", ids=list(ids), request=request).result["jobs"])

    def specs(self, ids: Sequence[str]) -> tuple[list[JobSpec], dict[str, Manifest]]:
        """Return jobs as they were submitted, and the manifests of their code by snapshot id."""
        said = unpacked(self.rpc.call("specs", timeout=None, ids=list(ids)).body, self.name, "jobs")
        return cast("list[JobSpec]", said["specs"]), cast("dict[str, Manifest]", said["manifests"])

    def withdraw(self, ids: Sequence[str], request: str, to: str) -> Withdrawn:
        """Let waiting jobs go to another host; from the answer on nothing starts them here.

        Args:
            ids: the jobs.
            request: id of the submission they go in; the same request twice is answered the same.
            to: where they go, for people.
        """
        return cast(Withdrawn, self.rpc.call("withdraw", ids=list(ids), request=request, to=to).result)

    def prioritise(self, ids: Sequence[str], priority: int, by: str) -> list[str]:
        """Change the place of waiting jobs in the queue; return those that still waited."""
        said = self.rpc.call("prioritise", ids=list(ids), priority=priority, by=by)
        return cast("list[str]", said.result["changed"])

    def secrets(self, values: Mapping[str, Mapping[str, str]]) -> None:
        """Give secrets to jobs that wait for them: {job id: {name: value}}."""
        self.rpc.call("secrets", values={job: dict(named) for job, named in values.items()})

    def pulled(self, job: str, attempt: int, to: str) -> None:
        """Record that an attempt's results came home, to a folder `to` on this computer; gc may then remove them."""
        self.rpc.call("pulled", job=job, attempt=attempt, to=to)
