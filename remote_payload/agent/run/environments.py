"""Which Python a job runs with: conda environments, venvs and plain interpreters, found without running conda."""

from __future__ import annotations

import difflib
import json
import os
import pwd
import shutil
import sys
from typing import Dict, List, NamedTuple, Sequence, Tuple

from remote_payload.agent.faults import AgentFault
from remote_payload.agent.machine.text import one_line
from remote_payload.agent.machine.tool import own_env, run_tool
from remote_payload.agent.wire.messages import PythonSpec

PROBE_TIMEOUT = 20.0
LOGIN_SHELL_TIMEOUT = 5.0
NAMES_SHOWN = 12

HOME_CONDA = ("~/miniconda3", "~/anaconda3", "~/miniforge3", "~/mambaforge")
SYSTEM_CONDA = ("/opt/conda", "/opt/miniconda3")
MORE_CONDA = ("/root/miniconda3",)
"""Looked at for names, but never chosen as anybody's default."""

_PROBE = (
    "import json, sys, sysconfig; paths = sysconfig.get_paths(); "
    "sys.stdout.write('\\nORCH-PYTHON ' + json.dumps({'version': '%d.%d.%d' % sys.version_info[:3], "
    "'prefix': sys.prefix, 'base': getattr(sys, 'base_prefix', sys.prefix), 'executable': sys.executable, "
    "'site': paths.get('purelib') or '', 'stdlib': paths.get('stdlib') or ''}) + '\\n')"
)
_PROBE_MARK = "ORCH-PYTHON "


class Resolved(NamedTuple):
    """The Python of a job.

    kind is conda, venv, path (asked for by its path) or system (found by auto, neither conda nor venv).
    python is the absolute interpreter and prefix its sys.prefix. conda_env is what `conda activate` takes: a name under
    conda_root's own envs folder, else the prefix; both are "" for other kinds, and conda_root is "" for a conda prefix
    whose root is not known. writable: packages can be installed into it.
    """

    kind: str
    prefix: str
    python: str
    version: str
    conda_root: str
    conda_env: str
    writable: bool
    externally_managed: bool


class _Probe(NamedTuple):
    version: str
    prefix: str
    base: str
    executable: str
    site: str
    stdlib: str


class _CondaEnv(NamedTuple):
    name: str
    prefix: str
    root: str


def resolve_python(spec: PythonSpec, conda_roots: Sequence[str] = ()) -> Resolved:
    """Return the interpreter a job's `python` means on this host.

    Args:
        spec: {"kind": "auto"}, {"kind": "conda", "name"}, {"kind": "venv", "path"} or {"kind": "path", "path"};
            `~` and `$HOME` at the beginning of a path are expanded.
        conda_roots: the profile's conda folders, looked at first.

    Raises:
        AgentFault: not_found (no such environment or file; the hint names those that exist, nearest first),
            bad_request (unknown kind, relative path), refused (the interpreter does not answer).
    """
    kind = spec.get("kind", "auto")
    if kind == "conda":
        return _conda(spec.get("name", ""), conda_roots)
    if kind == "venv":
        return _venv(_absolute(spec.get("path", ""), "venv"))
    if kind == "path":
        return _path(_absolute(spec.get("path", ""), "path"))
    if kind == "auto":
        return _auto(conda_roots)
    raise AgentFault("bad_request", "python: unknown kind {!r}".format(kind), "use auto, conda, venv or path")


def list_conda(conda_roots: Sequence[str] = ()) -> List[Dict[str, str]]:
    """Return the conda environments of this user as [{name, prefix}], base first for each root.

    Found by their folders: the given roots, CONDA_EXE's, the usual ones, each with its envs/; ~/.conda/envs; and what
    conda wrote into ~/.conda/environments.txt (environments made by prefix). No conda process is run.
    """
    return [{"name": env.name, "prefix": env.prefix} for env in _conda_envs(conda_roots)]


def expand(path: str) -> str:
    """Expand `~`, `$HOME` and `${HOME}` at the beginning of a path; nothing else is a variable here."""
    home = os.path.expanduser("~")
    for word in ("${HOME}", "$HOME"):
        if path == word or path.startswith(word + "/"):
            return home + path[len(word) :]
    return os.path.expanduser(path)


def _conda(name: str, conda_roots: Sequence[str]) -> Resolved:
    envs = _conda_envs(conda_roots)
    wanted = expand(name)
    if os.sep in wanted:
        prefix = os.path.normpath(wanted)
        found = next((env for env in envs if env.prefix == prefix), _CondaEnv(prefix, prefix, ""))
        if not os.path.isdir(os.path.join(prefix, "conda-meta")):
            raise _no_env(name, envs)
    else:
        same = [env for env in envs if env.name == name]
        if not same:
            raise _no_env(name, envs)
        found = same[0]
    return _conda_resolved(found)


def _conda_resolved(env: _CondaEnv) -> Resolved:
    python = _python_in(env.prefix)
    if not python:
        raise AgentFault(
            "not_found",
            "conda environment '{}' has no Python in it".format(env.name),
            "install one: conda install -n {} python".format(env.name),
        )
    probe = _probe(python)
    inside = env.prefix == env.root or os.path.dirname(env.prefix) == os.path.join(env.root, "envs")
    activate = env.name if env.root and inside else env.prefix
    return _resolved("conda", env.prefix, python, probe, env.root, activate)


def _no_env(name: str, envs: Sequence[_CondaEnv]) -> AgentFault:
    names = list(dict.fromkeys(env.name for env in envs))
    near = difflib.get_close_matches(name, names, n=len(names) or 1, cutoff=0.5)
    ordered = near + [other for other in names if other not in near]
    shown = ", ".join(ordered[:NAMES_SHOWN]) + (", …" if len(ordered) > NAMES_SHOWN else "")
    hint = (
        "it has: " + shown
        if ordered
        else "no conda was found on this host; name its folder in the profile (conda_roots)"
    )
    return AgentFault("not_found", "conda environment '{}' does not exist on this host".format(name), hint)


def _venv(prefix: str) -> Resolved:
    python = _python_in(prefix)
    if not python or not os.path.isfile(os.path.join(prefix, "pyvenv.cfg")):
        if python and os.path.isdir(os.path.join(prefix, "conda-meta")):
            hint = "that folder is a conda environment: write python: {{conda: {}}}".format(os.path.basename(prefix))
        elif os.path.isdir(prefix):
            hint = "that folder has no pyvenv.cfg with bin/python beside it; make one: python3 -m venv " + prefix
        else:
            hint = "no such folder on the host; make it: python3 -m venv " + prefix
        raise AgentFault("not_found", "there is no venv at {}".format(prefix), hint)
    return _resolved("venv", prefix, python, _probe(python), "", "")


def _path(python: str) -> Resolved:
    if not os.path.isfile(python):
        raise AgentFault(
            "not_found",
            "there is no Python at {}".format(python),
            "name the interpreter itself, as in /usr/bin/python3",
        )
    if not os.access(python, os.X_OK):
        raise AgentFault("refused", "{} is not executable".format(python), "chmod +x it, or name another Python")
    probe = _probe(python)
    return _resolved("path", probe.prefix, python, probe, "", "")


def _auto(conda_roots: Sequence[str]) -> Resolved:
    for root in _roots([*conda_roots, _conda_exe_root(), *HOME_CONDA, *SYSTEM_CONDA]):
        return _conda_resolved(_CondaEnv("base", root, root))
    tried: List[str] = []
    for python in (_login_shell_python(), shutil.which("python3") or "", sys.executable):
        if not python or python in tried:
            continue
        tried.append(python)
        try:
            return _classified(python, conda_roots)
        except AgentFault:
            continue
    raise AgentFault("not_found", "no Python was found on this host", "name one: python: {path: /abs/python}")


def _classified(python: str, conda_roots: Sequence[str]) -> Resolved:
    """Tell what kind of Python a login shell's `python3` is: it may lie in an activated environment."""
    probe = _probe(python)
    # A version manager's shim is a script; what it started is the interpreter.
    real = probe.executable if os.access(probe.executable, os.X_OK) else python
    if os.path.isdir(os.path.join(probe.prefix, "conda-meta")):
        envs = _conda_envs(conda_roots)
        known = next((env for env in envs if env.prefix == probe.prefix), None)
        return _conda_resolved(known or _CondaEnv(probe.prefix, probe.prefix, _root_above(probe.prefix)))
    if os.path.isfile(os.path.join(probe.prefix, "pyvenv.cfg")):
        return _resolved("venv", probe.prefix, real, probe, "", "")
    return _resolved("system", probe.prefix, real, probe, "", "")


def _resolved(kind: str, prefix: str, python: str, probe: _Probe, conda_root: str, conda_env: str) -> Resolved:
    managed = probe.prefix == probe.base and os.path.isfile(os.path.join(probe.stdlib, "EXTERNALLY-MANAGED"))
    writable = bool(probe.site) and os.access(probe.site, os.W_OK | os.X_OK)
    return Resolved(kind, prefix, python, probe.version, conda_root, conda_env, writable, managed)


_probes: Dict[Tuple[str, int, int], _Probe] = {}
"""Answers of interpreters by path, mtime and inode; an update of Python changes both."""


def _probe(python: str) -> _Probe:
    try:
        stat = os.stat(python)
    except OSError as error:
        raise AgentFault("not_found", "{} cannot be read: {}".format(python, error.strerror or error)) from error
    key = (python, stat.st_mtime_ns, stat.st_ino)
    if key not in _probes:
        _probes[key] = _ask(python)
    return _probes[key]


def _ask(python: str) -> _Probe:
    env = own_env()
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"):
        env.pop(name, None)
    ran = run_tool([python, "-c", _PROBE], PROBE_TIMEOUT, env=env, cwd="/")
    for line in reversed(ran.stdout.decode("utf-8", "surrogateescape").splitlines()):
        if line.startswith(_PROBE_MARK):
            try:
                said = json.loads(line[len(_PROBE_MARK) :])
                return _Probe(*(str(said[name]) for name in _Probe._fields))
            except (ValueError, KeyError, TypeError):
                break
    told = "no answer within {:g} s".format(PROBE_TIMEOUT) if ran.timed_out else one_line(ran.stderr or ran.stdout)
    raise AgentFault("refused", "{} does not work as a Python: {}".format(python, told or "it said nothing"))


def _conda_envs(conda_roots: Sequence[str]) -> List[_CondaEnv]:
    roots = _roots([*conda_roots, _conda_exe_root(), *HOME_CONDA, *SYSTEM_CONDA, *MORE_CONDA])
    found: Dict[str, _CondaEnv] = {}
    for root in roots:
        found.setdefault(root, _CondaEnv("base", root, root))
        for prefix in _env_folders(os.path.join(root, "envs")):
            found.setdefault(prefix, _CondaEnv(os.path.basename(prefix), prefix, root))
    fallback = roots[0] if roots else ""
    elsewhere = _env_folders(expand("~/.conda/envs")) + _recorded()
    for folder in filter(None, os.environ.get("CONDA_ENVS_PATH", "").split(os.pathsep)):
        elsewhere += _env_folders(expand(folder))
    for prefix in elsewhere:
        own_root = _root_above(prefix)
        name = "base" if own_root == prefix else os.path.basename(prefix)
        found.setdefault(prefix, _CondaEnv(name, prefix, own_root or fallback))
    return list(found.values())


def _roots(candidates: Sequence[str]) -> List[str]:
    """Those of the folders that hold a conda installation, in order, each once."""
    found: List[str] = []
    for candidate in candidates:
        root = os.path.normpath(expand(candidate)) if candidate else ""
        if root and root not in found and os.path.isabs(root) and _is_root(root):
            found.append(root)
    return found


def _is_root(folder: str) -> bool:
    marks = ("condabin/conda", "bin/conda", "etc/profile.d/conda.sh", "bin/activate", "conda-meta")
    return bool(_python_in(folder)) and any(os.path.exists(os.path.join(folder, mark)) for mark in marks)


def _root_above(prefix: str) -> str:
    for folder in (prefix, os.path.dirname(os.path.dirname(prefix))):
        if (
            folder != os.sep
            and os.path.isfile(os.path.join(folder, "etc", "profile.d", "conda.sh"))
            and _is_root(folder)
        ):
            return folder
    return ""


def _env_folders(folder: str) -> List[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    prefixes = [os.path.join(folder, name) for name in names]
    return [prefix for prefix in prefixes if _python_in(prefix) or os.path.isdir(os.path.join(prefix, "conda-meta"))]


def _recorded() -> List[str]:
    try:
        with open(expand("~/.conda/environments.txt"), encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read(1 << 20).splitlines()
    except OSError:
        return []
    prefixes = [os.path.normpath(line.strip()) for line in lines if line.strip().startswith("/")]
    return [prefix for prefix in prefixes if os.path.isdir(os.path.join(prefix, "conda-meta"))]


def _conda_exe_root() -> str:
    conda = os.environ.get("CONDA_EXE", "")
    return os.path.dirname(os.path.dirname(conda)) if os.path.isabs(conda) else ""


def _python_in(prefix: str) -> str:
    for name in ("python", "python3"):
        python = os.path.join(prefix, "bin", name)
        if os.path.isfile(python) and os.access(python, os.X_OK):
            return python
    return ""


def _login_shell_python() -> str:
    """Ask the login shell, whose start-up files may name the folder; what else they print is passed over."""
    try:
        shell = os.environ.get("SHELL") or pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:
        shell = ""
    if not shell or not os.path.isabs(shell) or not os.access(shell, os.X_OK):
        return ""
    ran = run_tool([shell, "-lc", "command -v python3"], LOGIN_SHELL_TIMEOUT, env=own_env())
    for line in reversed(ran.stdout.decode("utf-8", "surrogateescape").splitlines()):
        path = line.strip()
        if path.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _absolute(path: str, kind: str) -> str:
    full = expand(path)
    if not os.path.isabs(full):
        raise AgentFault(
            "bad_request",
            "python: {{{}: {}}} must be an absolute path on the host".format(kind, path or "…"),
            "begin it with / or ~",
        )
    return os.path.normpath(full)
