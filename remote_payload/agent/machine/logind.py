"""Whether systemd's login manager ends a user's processes when the user logs out, as logind.conf(5) says."""

from __future__ import annotations

import os
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from remote_payload.agent.machine.tool import own_env, run_tool

_TIMEOUT = 3.0
_FOLDERS = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")
_MAIN, _DROP_INS = "logind.conf", "logind.conf.d"
_KEYS = ("KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers")
_LINGER = "var/lib/systemd/linger"
_TRUE = ("1", "yes", "y", "true", "t", "on")


class Logout(NamedTuple):
    """What happens at logout: whether processes of the session are ended, and whether the user's manager stays."""

    kills: bool
    linger: bool


def settings_of(text: str) -> Dict[str, str]:
    """Return the settings of a logind.conf, or of what `loginctl show-user` prints about the manager. Pure.

    Comments, other sections and other keys are left out; of two lines the last one counts.
    """
    found: Dict[str, str] = {}
    section = "[Login]"
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        key, equals, value = line.partition("=")
        if equals and section == "[Login]" and key.strip() in _KEYS:
            found[key.strip()] = value.strip()
    return found


def ends_processes_of(user: str, settings: Dict[str, str]) -> bool:
    """Tell whether the processes of a user's login sessions are ended at logout. Pure.

    Args:
        user: login name.
        settings: KillUserProcesses, KillOnlyUsers, KillExcludeUsers; what is absent has logind's default, except that
            KillUserProcesses counts as off: its default depends on how systemd was built.
    """
    if settings.get("KillUserProcesses", "no").lower() not in _TRUE:
        return False
    # An empty list of exceptions is one without root.
    if user in settings.get("KillExcludeUsers", "root").split():
        return False
    only = settings.get("KillOnlyUsers", "").split()
    return not only or user in only


def read_settings(root: str = "/") -> Dict[str, str]:
    """Return what the files say: the first main file there is, then the drop-ins by name, each name once."""
    main = next((text for text in (_read(os.path.join(root, each, _MAIN)) for each in _FOLDERS) if text), "")
    found = settings_of(main)
    drop_ins: Dict[str, str] = {}
    for folder in _FOLDERS:
        for name in _names(os.path.join(root, folder, _DROP_INS)):
            drop_ins.setdefault(name, os.path.join(root, folder, _DROP_INS, name))
    for name in sorted(drop_ins):
        found.update(settings_of(_read(drop_ins[name])))
    return found


def logout(user: str, root: str = "/", path: Optional[str] = None) -> Optional[Logout]:
    """Return what happens at logout on this host; None where logind does not run.

    Args:
        user: login name.
        root: where the system's files begin.
        path: a PATH to find loginctl in; None = the agent's own.
    """
    if not os.path.isdir(os.path.join(root, "run/systemd/system")):
        return None
    # What the running manager says counts more than the files: only it knows the default it was built with.
    ran = run_tool(["loginctl", "show-user", "--all"], _TIMEOUT, env=own_env(path))
    said = settings_of(ran.stdout.decode("utf-8", "replace")) if ran.exit_code == 0 else {}
    settings = said if "KillUserProcesses" in said else read_settings(root)
    return Logout(ends_processes_of(user, settings), os.path.exists(os.path.join(root, _LINGER, user)))


def outside_session(happens: Optional[Logout], uid: int) -> Tuple[List[str], Dict[str, str]]:
    """Return what stands before a command that shall outlive the login session, and variables it needs. Pure.

    A process of the session's scope is ended with it, lingering or not; one in a scope of the user's own manager stays
    as long as that manager does, which lingers (systemd-run(1), its last example).
    """
    if happens is None or not happens.kills or not happens.linger:
        return [], {}
    prefix = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--"]
    return prefix, {"XDG_RUNTIME_DIR": "/run/user/{}".format(uid)}


def _names(folder: str) -> List[str]:
    try:
        names: Iterable[str] = os.listdir(folder)
    except OSError:
        return []
    return [name for name in names if name.endswith(".conf")]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(65536)
    except OSError:
        return ""
