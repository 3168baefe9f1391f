"""Weights & Biases, or nothing: a run is never lost because wandb is missing or its server is out of reach."""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

CLOUD = "https://api.wandb.ai"
# Seconds; the person's own settings win. Their defaults are 90 and for ever, with a GPU paid for meanwhile.
TIMEOUTS = {"WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "300"}


class Tracker:
    """A wandb run; without one every call does nothing."""

    def __init__(self, wandb: Any = None) -> None:
        self._wandb = wandb

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Values of one epoch."""
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def finish(self, exit_code: int = 0) -> None:
        """Upload what is left and end the run; a code other than 0 marks it as failed."""
        if self._wandb is not None:
            self._wandb.finish(exit_code=exit_code)


def has_key() -> bool:
    """True when a wandb login is there: WANDB_API_KEY, or a line for the server in netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or CLOUD).hostname or ""
    try:
        path = os.environ.get("NETRC")
        return netrc.netrc(path).authenticators(server) is not None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False


def choose_mode(wanted: str) -> str:
    """online, offline or disabled for what --wandb says; auto asks WANDB_MODE, then whether a key is there."""
    if wanted == "auto":
        given = os.environ.get("WANDB_MODE", "")
        if given in ("online", "offline", "disabled"):
            return given
        return "online" if has_key() else "offline"
    return "disabled" if wanted == "off" else wanted


def start(wanted: str, project: str, config: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> Tracker:
    """Begin a wandb run, or explain in a sentence why there is none.

    Args:
        wanted: --wandb: auto, online, offline or off.
        project: wandb's project.
        config: the flags, shown beside the run.
        folder: the output folder; wandb's files go into its `wandb`.
        say: gets the sentences.
    """
    mode = choose_mode(wanted)
    if mode == "disabled":
        say("wandb: off")
        return Tracker()
    try:
        import wandb  # here, because a run with --wandb off should not pay for it
    except ImportError:
        say("wandb: not installed, so this run is not tracked; `python -m pip install wandb` brings it.")
        return Tracker()
    for name, seconds in TIMEOUTS.items():
        os.environ.setdefault(name, seconds)

    def init(mode: Literal["online", "offline"]) -> Tracker:
        wandb.init(project=project, config=dict(config), dir=str(folder), mode=mode)
        return Tracker(wandb)

    if mode == "online":
        try:
            return init("online")
        except wandb.Error as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            say(f"wandb: the server did not take this run ({reason}); going on offline.")
    say(f"wandb: offline; send it later with `wandb sync {folder / 'wandb'}/offline-run-*`")
    return init("offline")
