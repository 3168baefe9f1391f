"""The one error the agent answers with on purpose."""

from __future__ import annotations


class AgentFault(Exception):
    """A request that cannot be met, told to the controller as {code, message, hint}.

    Args:
        code: machine-readable word (bad_request, not_found, conflict, refused, internal, …; see docs/protocol.md).
        message: one sentence saying what is wrong.
        hint: the plain next step, or "" when the message already says it.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
