"""The environment of a job, built from nothing, so that it is the same over SSH, after a reboot and under a keeper."""

from __future__ import annotations

import os
import pwd
from typing import Any, Dict, Mapping, NamedTuple, Sequence

from remote_payload.agent import crash
from remote_payload.agent.run.processes import MARKER_NAME
from remote_payload.agent.wire.messages import JobSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_LANG = "C.UTF-8"
KEPT_NAMES = ("TMPDIR", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_HOME")
"""Taken over from the login where they are set; everything else of it is left behind (it may hold a secret)."""

AGENT_NAMES = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "PATH", "CONDA_EXE", *KEPT_NAMES, *crash.VARIABLES)
"""What keeper and supervise themselves run with."""

SETUP_VARIABLES = {
    "CONDA_ALWAYS_YES": "true",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONUNBUFFERED": "1",
}


class AttemptPlace(NamedTuple):
    """What is particular to one attempt. gpus: the indices leased to it. needed: $ORCH_NEED_… of the jobs it needs."""

    number: int
    output_dir: str
    gpus: Sequence[int]
    marker: str
    needed: Mapping[str, str] = {}


def agent_environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return what the resident processes run with, so that neither bears a job's marker or somebody's token. Pure."""
    kept = {name: environ[name] for name in AGENT_NAMES if environ.get(name)}
    kept.setdefault("PATH", DEFAULT_PATH)
    return kept


def base_environment(profile: Mapping[str, Any], environ: Mapping[str, str]) -> Dict[str, str]:
    """Return what every job of this host starts from.

    Args:
        profile: the host's profile; `path` replaces PATH and `variables` {NAME: text} is added.
        environ: the agent's own environment, of which only a few names are taken.
    """
    env = {name: environ[name] for name in KEPT_NAMES if environ.get(name)}
    env.update(_person(environ))
    env["LANG"] = environ.get("LANG") or DEFAULT_LANG
    env["PATH"] = str(profile.get("path") or DEFAULT_PATH)
    variables = profile.get("variables")
    if isinstance(variables, Mapping):
        env.update({str(name): str(value) for name, value in variables.items()})
    return env


def setup_environment(base: Mapping[str, str], marker: str) -> Dict[str, str]:
    """Return what a job's setup runs with: no question is ever asked of a closed stdin. Pure."""
    return {**base, **SETUP_VARIABLES, MARKER_NAME: marker}


def job_environment(
    base: Mapping[str, str], spec: JobSpec, place: AttemptPlace, secrets: Mapping[str, str]
) -> Dict[str, str]:
    """Return a job's whole environment. Pure. The user's `env` wins over ours, and secrets win over all.

    A job without GPUs sees none: those it would find belong to others.
    """
    env = dict(base)
    env.update(
        {
            "ORCH_JOB_ID": spec["id"],
            "ORCH_JOB_NAME": spec["name"],
            "ORCH_SUBMISSION": spec["submission"],
            "ORCH_PROJECT": spec["project"],
            "ORCH_ATTEMPT": str(place.number),
            "ORCH_OUTPUT_DIR": place.output_dir,
            "PYTHONUNBUFFERED": "1",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": ",".join(str(index) for index in place.gpus),
        }
    )
    env.update(place.needed)
    if place.number > 1:
        # The workdir is the same: a checkpoint of the try before may be there.
        env["ORCH_RESUME"] = "1"
    env.update(spec["env"])
    env[MARKER_NAME] = place.marker
    env.update(secrets)
    return env


def _person(environ: Mapping[str, str]) -> Dict[str, str]:
    try:
        entry = pwd.getpwuid(os.getuid())
        name, home, shell = entry.pw_name, entry.pw_dir, entry.pw_shell
    except KeyError:  # containers started with a bare user id have no entry
        name, home, shell = str(os.getuid()), "/", "/bin/sh"
    name = environ.get("USER") or name
    return {
        "HOME": environ.get("HOME") or home,
        "USER": name,
        "LOGNAME": name,
        "SHELL": environ.get("SHELL") or shell or "/bin/sh",
    }
