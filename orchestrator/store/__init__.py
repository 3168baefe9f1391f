"""What the laptop remembers, in one SQLite file."""

from orchestrator.store.store import HostSeen, Store, SubmissionRow

__all__ = ["HostSeen", "Store", "SubmissionRow"]
