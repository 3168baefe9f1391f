"""What the laptop remembers, in one SQLite file."""

from orchestrator.store.cancels import KeptCancel
from orchestrator.store.store import ACKED, DROPPED, PLANNED, SENT, HostSeen, Store, SubmissionRow

__all__ = ["ACKED", "DROPPED", "PLANNED", "SENT", "HostSeen", "KeptCancel", "Store", "SubmissionRow"]
