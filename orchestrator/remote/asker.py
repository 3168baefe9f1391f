"""Who answers what only a person can: trust, passwords, passphrases."""

from __future__ import annotations

from typing import Protocol


class Asker(Protocol):
    """Asks the person. An answer of False or None means no."""

    def trust(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Ask whether a host key met for the first time is to be trusted."""
        ...

    def password(self, host: str, user: str) -> str | None:
        """Ask for the password of a login."""
        ...

    def passphrase(self, path: str) -> str | None:
        """Ask for the passphrase of a private key."""
        ...


class SilentAsker:
    """Nobody is there: everything that needs an answer is refused."""

    def trust(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Return False."""
        return False

    def password(self, host: str, user: str) -> str | None:
        """Return None."""
        return None

    def passphrase(self, path: str) -> str | None:
        """Return None."""
        return None
