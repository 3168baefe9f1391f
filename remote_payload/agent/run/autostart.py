"""Letting the queue go on by itself after a reboot: by the provider's boot hook, the user's crontab, or systemd.

Each holds one line (or unit) of ours with a mark; what else stands there is never touched.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.text import one_line
from remote_payload.agent.machine.tool import MAX_OUTPUT, Ran, own_env, run_tool
from remote_payload.agent.spool import atomic
from remote_payload.agent.spool.gc import AUTOSTART_NOTE
from remote_payload.agent.spool.paths import SpoolPaths
from remote_payload.agent.spool.place import agent_dir

_TIMEOUT = 15.0
_BOOT_HOOK, _CRONTAB, _SYSTEMD, _NONE = "boot_hook", "crontab", "systemd", "none"
_UNIT = """[Unit]
Description=orch: the queue of {host}

[Service]
ExecStart={command}
# Jobs have supervisors of their own, which outlive the keeper.
KillMode=process

[Install]
WantedBy=default.target
"""


class Place(NamedTuple):
    """What autostart is about.

    Args:
        paths: of the spool.
        host: the host's id; marks our line.
        hook: the provider's boot script, None where it has none.
        home: the home folder.
    """

    paths: SpoolPaths
    host: str
    hook: Optional[str]
    home: str

    @property
    def mark(self) -> str:
        """What our line ends with."""
        return "# orch autostart {}".format(self.host)

    @property
    def note(self) -> str:
        """Where it is noted which agent the line names: gc must keep that one."""
        return os.path.join(self.home, ".orch", "hosts", self.host, AUTOSTART_NOTE)

    @property
    def unit(self) -> str:
        """The systemd unit's file."""
        name = "orch-keeper-{}.service".format(self.host)
        return os.path.join(self.home, ".config", "systemd", "user", name)


def switch(place: Place, on: bool) -> Dict[str, Any]:
    """Set up or take away the autostart; return {kind, sentence}. May be repeated.

    Raises:
        AgentFault: refused, when what is there cannot be changed.
    """
    if not on:
        gone = [kind for kind, _, remove in _ways() if remove(place)]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place.note)
        said = "the queue is not started at boot any more" if gone else "nothing starts the queue at boot"
        return {"kind": gone[0] if gone else _NONE, "sentence": said}
    # First, so that no gc removes the agent that a line is about to name.
    atomic.make_folder(os.path.dirname(place.note))
    atomic.write_json(place.note, {"agent": agent_dir()})
    why = []
    for kind, add, _ in _ways():
        done, said = add(place)
        if done:
            _only(place, kind)
            return {"kind": kind, "sentence": said}
        why.append(said)
    return {"kind": _NONE, "sentence": "nothing here starts programs at boot ({})".format("; ".join(filter(None, why)))}


def boot_command(root: str) -> str:
    """Return the shell command that a boot runs."""
    argv = [sys.executable, "-I", "-S", agent_dir(), "boot", root]
    if any("\n" in word for word in argv):
        raise AgentFault("refused", "a path on this host holds a line break: {!r}".format(argv))
    return " ".join(map(shlex.quote, argv))


def with_line(text: str, mark: str, line: Optional[str]) -> str:
    """Return a file's text with one line of ours, or without it (None). Pure."""
    kept = [each for each in text.splitlines(True) if not each.rstrip().endswith(mark)]
    if line is None:
        return "".join(kept)
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return "".join(kept) + line + "\n"


def cron_line(command: str, mark: str) -> str:
    """Return the line of a crontab; a bare % would end the command there (crontab(5)). Pure."""
    return "@reboot {} >/dev/null 2>&1 {}".format(command.replace("%", "\\%"), mark)


Add = Callable[[Place], Tuple[bool, str]]
Remove = Callable[[Place], bool]


def _ways() -> List[Tuple[str, Add, Remove]]:
    return [
        (_BOOT_HOOK, _add_hook, _remove_hook),
        (_CRONTAB, _add_cron, _remove_cron),
        (_SYSTEMD, _add_unit, _remove_unit),
    ]


def _only(place: Place, kept: str) -> None:
    """Take our line out of the other places: two would only meet at the keeper's lock, but one is to be told of."""
    for kind, _, remove in _ways():
        if kind != kept:
            with contextlib.suppress(AgentFault):
                remove(place)


def _add_hook(place: Place) -> Tuple[bool, str]:
    text = _hook_text(place)
    if text is None:
        return False, ""
    line = "( {} >/dev/null 2>&1 & ) {}\n".format(boot_command(place.paths.root), place.mark)
    rest = with_line(text, place.mark, None)
    # At the top: such a script often ends with a command that never does.
    head, newline, body = rest.partition("\n") if rest.startswith("#!") else ("", "", rest)
    _write_hook(place, head + (newline or ("\n" if head else "")) + line + body)
    return True, "the boot script {} starts the queue".format(place.hook)


def _remove_hook(place: Place) -> bool:
    text = _hook_text(place)
    if text is None or with_line(text, place.mark, None) == text:
        return False
    _write_hook(place, with_line(text, place.mark, None))
    return True


def _hook_text(place: Place) -> Optional[str]:
    if place.hook is None or not os.path.isfile(place.hook):
        return None
    with open(place.hook, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return stream.read()


def _write_hook(place: Place, text: str) -> None:
    assert place.hook is not None
    target = os.path.realpath(place.hook)
    mode = stat.S_IMODE(os.stat(target).st_mode)
    try:
        atomic.write_bytes(target, text.encode("utf-8", "surrogateescape"))
        os.chmod(target, mode)
    except OSError as error:
        raise AgentFault("refused", "{} cannot be changed: {}".format(place.hook, error.strerror or error)) from error


def _add_cron(place: Place) -> Tuple[bool, str]:
    text, why = _crontab()
    if text is None:
        return False, why
    line = cron_line(boot_command(place.paths.root), place.mark)
    why = _install(place, with_line(text, place.mark, line))
    if why:
        return False, why
    daemon = "" if _cron_runs() else "; no cron daemon can be seen now: does one start at boot?"
    return True, "your crontab starts the queue at boot{}".format(daemon)


def _remove_cron(place: Place) -> bool:
    text, _ = _crontab()
    if text is None or with_line(text, place.mark, None) == text:
        return False
    why = _install(place, with_line(text, place.mark, None))
    if why:
        raise AgentFault("refused", "your crontab cannot be changed: {}".format(why))
    return True


def _crontab() -> Tuple[Optional[str], str]:
    """Return the user's crontab, "" when it is empty; None and why when there is none to be had."""
    ran = _run(["crontab", "-l"])
    if ran.missing:
        return None, "no crontab"
    if len(ran.stdout) >= MAX_OUTPUT:
        return None, "crontab: it is too large"
    if ran.exit_code == 0:
        return ran.stdout.decode("utf-8", "surrogateescape"), ""
    # Only this answer means that nothing would be lost.
    if b"no crontab for" in ran.stderr or b"can't open '" in ran.stderr:
        return "", ""
    return None, "crontab: " + (one_line(ran.stderr) or "it does not answer")


def _install(place: Place, text: str) -> str:
    """Install a crontab; return why it could not be."""
    path = os.path.join(place.paths.tmp, "crontab")
    atomic.make_folder(place.paths.tmp)
    atomic.write_bytes(path, text.encode("utf-8", "surrogateescape"))
    try:
        ran = _run(["crontab", path])
    finally:
        os.unlink(path)
    if ran.exit_code != 0:
        return "crontab: " + (one_line(ran.stderr) or "it refused")
    return ""


def _cron_runs() -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/{}/comm".format(pid), "rb") as name:
                if name.read().strip() in (b"cron", b"crond", b"fcron", b"dcron"):
                    return True
    return False


def _add_unit(place: Place) -> Tuple[bool, str]:
    if _systemctl("show-environment").exit_code != 0:
        return False, "no systemd of your own"
    os.makedirs(os.path.dirname(place.unit), exist_ok=True)
    # systemd reads % and $ itself.
    command = boot_command(place.paths.root).replace("%", "%%").replace("$", "$$")
    atomic.write_bytes(place.unit, _UNIT.format(host=place.host, command=command).encode("utf-8", "surrogateescape"))
    _systemctl("daemon-reload")
    enabled = _systemctl("enable", os.path.basename(place.unit))
    lingers = _run(["loginctl", "enable-linger"])
    if enabled.exit_code != 0 or lingers.exit_code != 0:
        _remove_unit(place)
        return False, "systemd: " + (one_line(enabled.stderr or lingers.stderr) or "it refused")
    return True, "a systemd unit of yours starts the queue at boot, and lingering is on"


def _remove_unit(place: Place) -> bool:
    """Lingering is left on: others may need it."""
    if not os.path.exists(place.unit):
        return False
    _systemctl("disable", os.path.basename(place.unit))
    os.unlink(place.unit)
    _systemctl("daemon-reload")
    return True


def _systemctl(*words: str) -> Ran:
    return _run(["systemctl", "--user", *words])


def _run(argv: List[str]) -> Ran:
    runtime: Mapping[str, str] = {"XDG_RUNTIME_DIR": "/run/user/{}".format(os.getuid())}
    return run_tool(argv, _TIMEOUT, env=own_env(**({} if "XDG_RUNTIME_DIR" in os.environ else runtime)))
