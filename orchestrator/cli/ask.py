"""Questions to the person: trust, passwords, passphrases, yes or no. Without a terminal nobody is asked."""

from __future__ import annotations

import getpass
import sys
import threading

from orchestrator.cli.state import GLOBALS, undrawn
from orchestrator.errors import RefusedError
from orchestrator.text import neutralise

_ONE_AT_A_TIME = threading.Lock()


def interactive() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and not GLOBALS.json


def confirm(question: str) -> None:
    """Ask yes or no; returns only on yes.

    Raises:
        RefusedError: the answer is no, or nobody can be asked.
    """
    if not interactive():
        fact = question.rpartition(". ")[0] or question.rstrip("?")
        raise RefusedError(f"{fact}: nobody is here to say yes", "Add -y to go on without asking.")
    if not yes_or_no(question):
        raise RefusedError("stopped, as you asked; nothing was changed")


def yes_or_no(question: str, default: bool = False, facts: str = "") -> bool:
    """Ask and return the answer; an empty one is the default. `facts` stand on a line of their own before it."""
    with _ONE_AT_A_TIME, undrawn():
        if facts:
            sys.stderr.write(f"{neutralise(facts)}\n")
        sys.stderr.write(f"{neutralise(question)} [{'Y/n' if default else 'y/N'}] ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip().lower()
    return default if not answer else answer in ("y", "yes")


class TerminalAsker:
    """Answers the transport's questions from the terminal.

    Args:
        accept_new: trust keys met for the first time without asking (never changed ones).
    """

    def __init__(self, *, accept_new: bool = False) -> None:
        self.accept_new = accept_new

    def trust(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Show a new host key's fingerprint and ask whether to trust it."""
        if self.accept_new:
            return True
        if not interactive():
            return False
        facts = f"{host} shows a host key that is not known here: {key_type} {fingerprint}"
        return yes_or_no("Trust it from now on?", facts=facts)

    def password(self, host: str, user: str) -> str | None:
        """Ask for a password, once."""
        return _hidden(f"Password for {user} on {host}: ")

    def passphrase(self, path: str) -> str | None:
        """Ask for a key's passphrase, once."""
        return _hidden(f"Passphrase for {path}: ")


def _hidden(prompt: str) -> str | None:
    if not interactive():
        return None
    with _ONE_AT_A_TIME, undrawn():
        return getpass.getpass(neutralise(prompt)) or None
