"""A link's methods about the host itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from orchestrator.remote.link_base import LinkBase, given
from orchestrator.remote.link_types import Adopted, Autostart, GcReport, ResolvedPython
from orchestrator.remote.streaming import Stream
from remote_payload.agent.wire.messages import GpuTable

SLOW = 120.0
"""Seconds for what starts programs on the host (conda, torch, nvidia-smi under its own timeout)."""


class ExecRun:
    """A command under way on the host; iterate for (descriptor, bytes), then look at how it ended.

    Leaving the iteration early ends the command.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        with self._stream as stream:
            for frame in stream:
                # The caller writes to this descriptor: a host may name no other one.
                yield (2 if frame.header.get("fd") == 2 else 1), frame.body

    def stop(self) -> None:
        """End the command; may be called from any thread."""
        self._stream.stop()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, None while it runs or when a signal ended it."""
        return cast("int | None", self._stream.result.get("exit_code"))

    @property
    def signal(self) -> int | None:
        """The signal that ended it, if one did."""
        return cast("int | None", self._stream.result.get("signal"))


class HostMethods(LinkBase):
    """Each method may raise AgentError and UnreachableError."""

    def ping(self) -> float:
        """Return one round trip through the agent, in seconds."""
        return self.rpc.ping()

    def gpus(self) -> GpuTable:
        """Return the host's GPUs as they are now."""
        return cast(GpuTable, self.rpc.call("gpus", timeout=SLOW).result)

    def facts(self, deep: bool = False, python: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what `orch check` shows (docs/protocol.md).

        Args:
            deep: also start Python to import torch, and list conda environments.
            python: the PythonSpec whose torch is looked at; None takes auto.
        """
        return self.rpc.call("facts", timeout=SLOW, deep=deep, python=dict(python) if python else None).result

    def resolve_python(self, python: Mapping[str, Any], profile: Mapping[str, Any] | None = None) -> ResolvedPython:
        """Find the Python a job with this `python` would get.

        Args:
            python: a PythonSpec.
            profile: by default the link's own.

        Raises:
            AgentError: `not_found`; the hint lists the environments there are.
        """
        used = dict(profile) if profile is not None else self.profile
        return cast(
            ResolvedPython, self.rpc.call("resolve_python", timeout=SLOW, python=dict(python), profile=used).result
        )

    def pause(self, on: bool, by: str) -> bool:
        """Let nothing new start on the host (`on`), or let it go on; return whether it is paused now.

        Raises:
            AgentError: `moved`, the queue is another host's.
        """
        return bool(self.rpc.call("pause", on=on, by=by).result["paused"])

    def adopt(self, host_id: str | None, by: str) -> Adopted:
        """Make another host's queue this host's own; it goes on here.

        Args:
            host_id: whose queue in this home; None = the one that is open.
            by: who asks.

        Raises:
            AgentError: `not_found` (no such queue), `conflict` (the host has a queue of its own).
        """
        return cast(Adopted, self.rpc.call("adopt", timeout=SLOW, by=by, **given(host_id=host_id)).result)

    def autostart(self, on: bool) -> Autostart:
        """Let the queue go on by itself after a reboot of the host, or no more."""
        return cast(Autostart, self.rpc.call("autostart", timeout=SLOW, on=on).result)

    def exec(self, argv: Sequence[str], cwd: str | None = None, job: str | None = None) -> ExecRun:
        """Run a command, without stdin.

        Args:
            argv: program and arguments, no shell.
            cwd: absolute; by default HOME, or the job's workdir.
            job: run it in this job's environment.
        """
        return ExecRun(self.rpc.stream("exec", argv=list(argv), **given(cwd=cwd, job=job)))

    def gc(self, dry_run: bool = False, unpulled: bool = False, older_than: float | None = None) -> GcReport:
        """Free space on the host.

        Args:
            dry_run: only say what would go.
            unpulled: also results that nobody has pulled.
            older_than: seconds since a job ended; None takes the agent's default.
        """
        args = given(dry_run=dry_run, unpulled=unpulled, older_than=older_than)
        return cast(GcReport, self.rpc.call("gc", timeout=None, **args).result)
