"""The one tree of errors the controller raises; each knows its sentence, its next step and its exit code."""

from __future__ import annotations

EXIT_OK = 0
EXIT_JOB_FAILED = 1
EXIT_USAGE = 2
EXIT_HOST = 3
EXIT_REFUSED = 4
EXIT_BUG = 70
EXIT_INTERRUPT = 130


class OrchError(Exception):
    """Root of every error orch raises on purpose.

    Args:
        message: one sentence saying what is wrong, in the person's words.
        hint: the plain next step, or "" when the message already says it.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OrchError):
    """Bad command line, jobs.yaml or inventory (exit 2)."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """Bad input file; the message begins with file:line:column."""


class HostError(OrchError):
    """The host or SSH is the trouble (exit 3)."""

    exit_code = EXIT_HOST

    def __init__(self, message: str, hint: str = "", *, host: str = "") -> None:
        super().__init__(message, hint)
        self.host = host


class UnreachableError(HostError):
    """No answer, or the line was lost: the controller's ignorance, never a job's failure. May be retried."""


class AuthenticationError(HostError):
    """The host refused the login; never retried."""


class HostKeyError(HostError):
    """The host key is unknown and nobody may be asked, or it changed."""


class AgentError(HostError):
    """The agent answered with an error, or no usable Python or shell is on the host.

    Args:
        code: the agent's machine-readable error code (see wire.protocol), "" when there was no agent.
    """

    def __init__(self, message: str, hint: str = "", *, host: str = "", code: str = "") -> None:
        super().__init__(message, hint, host=host)
        self.code = code


class RefusedError(OrchError):
    """A check refuses to go on (exit 4)."""

    exit_code = EXIT_REFUSED


class JobFailedError(OrchError):
    """At least one job did not succeed (exit 1)."""

    exit_code = EXIT_JOB_FAILED
