"""The library behind the command line: `from orchestrator.api import Orch`."""

from orchestrator.api.core import Orch
from orchestrator.api.find import Located

__all__ = ["Located", "Orch"]
