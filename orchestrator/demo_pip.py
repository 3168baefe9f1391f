"""The pip settings of the person who runs the demo, for the demo's host, which has a HOME of its own."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

# Where pip fetches from, and how. Others (target, user, require-virtualenv ...) would change what an install does.
SETTINGS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "timeout",
    "default-timeout",
    "retries",
    "cache-dir",
)


def write_pip_settings(home: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Give the demo's host the pip settings of the person who runs the demo.

    The host has a HOME and an environment of its own, so a mirror or proxy set up for this user would be lost there
    and the job's setup could not install anything. The download cache is shared, so that a second demo is quick.

    Args:
        home: the host's HOME.
        environ: PIP_* variables, HOME, XDG_CONFIG_HOME and XDG_CACHE_HOME are read from it.

    Returns:
        The file written, mode 0600 (an index address may hold a password).

    Raises:
        OSError: it cannot be written.
    """
    user = Path(environ.get("HOME") or Path.home())
    found = {"cache-dir": str(Path(environ.get("XDG_CACHE_HOME") or user / ".cache") / "pip")}
    for path in _pip_files(environ, user):
        found.update(_read_pip_file(path))
    for name in SETTINGS:
        value = environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            found[name] = value
    target = home / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = configparser.RawConfigParser()
    settings["global"] = found
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        settings.write(file)
    return target


def _pip_files(environ: Mapping[str, str], user: Path) -> list[Path]:
    """The user's pip configuration files, weakest first (pip's documentation, "Configuration")."""
    config = Path(environ.get("XDG_CONFIG_HOME") or user / ".config")
    files = [user / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    named = environ.get("PIP_CONFIG_FILE")
    return [*files, Path(named)] if named else files


def _read_pip_file(path: Path) -> dict[str, str]:
    settings = configparser.RawConfigParser()
    try:
        settings.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}  # not there, or not pip's: pip itself will say so where it matters
    merged: dict[str, str] = {}
    for section in ("global", "install"):
        if settings.has_section(section):
            merged.update({name: value for name, value in settings.items(section) if name in SETTINGS})
    return merged
