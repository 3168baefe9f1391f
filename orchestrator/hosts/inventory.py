"""The inventory: hosts.yaml under ORCH_HOME. People may edit it by hand; comments and order are kept."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from orchestrator.errors import UsageError
from orchestrator.hosts.profiles import AUTO, load_profiles
from orchestrator.paths import private_folder
from orchestrator.spec.expand import host_entry
from orchestrator.spec.fields import HOST_MEANINGS, HOST_NAME, TAG
from orchestrator.spec.jobs import HostEntry
from orchestrator.spec.loader import read_document
from orchestrator.spec.models import HostModel
from orchestrator.spec.nodes import Map, is_null
from orchestrator.spec.problems import Problems
from orchestrator.spec.sshline import EXAMPLE, LOCAL, SshLine, read_ssh_line
from orchestrator.spec.words import listed, near

__all__ = ["HostEntry", "Inventory"]

Hosts = list[HostEntry]
FILE = "hosts.yaml"
LOCK = "hosts.lock"
LOCK_SECONDS = 15.0
_HEAD = "# Hosts that orch knows. `orch host add` writes here; editing by hand is fine.\n"


class Inventory:
    """The hosts of one ORCH_HOME.

    Args:
        home: ORCH_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / FILE

    def list(self) -> Hosts:
        """Return every host, in the file's order.

        Raises:
            ConfigError: the file was edited into something that cannot be read.
        """
        if not self.path.exists():
            return []
        document = read_document(self.path, may_be_empty=True)
        problems = Problems(document)
        found = []
        for name, entry in document.root.entries.items():
            if not re.fullmatch(HOST_NAME, name, re.ASCII) or name in HOST_MEANINGS:
                problems.add(entry.place, f"{name[:60]!r} cannot be the name of a host")
            node = Map({}, entry.place) if is_null(entry.node) else entry.node
            model = problems.check(HostModel, node, f"host {name!r}", entry.place)
            if model is not None:
                found.append(host_entry(name, model))
        problems.raise_first()
        return found

    def get(self, name: str) -> HostEntry:
        """Return one host.

        Raises:
            UsageError: there is none of that name; the message names the nearest.
        """
        hosts = {entry.name: entry for entry in self.require_any()}
        if name not in hosts:
            raise UsageError(f"no host is called {name[:60]!r}{near(name, hosts)}", f"There are: {listed(hosts)}.")
        return hosts[name]

    def require_any(self) -> Hosts:
        """Return every host.

        Raises:
            UsageError: there is none; the hint is the line to type.
        """
        hosts = self.list()
        if not hosts:
            hint = f'orch host add box "{EXAMPLE}"\nThis very machine, without SSH: orch host add here {LOCAL}'
            raise UsageError("no host is known yet", hint)
        return hosts

    def check_new(self, entry: HostEntry) -> None:
        """Let a host pass that may be written down: a new one, or the same login with another port.

        Raises:
            UsageError: its name, line, profile or tags cannot be used, or the name belongs to another machine.
        """
        _check_name(entry.name)
        if entry.ssh != LOCAL:
            read_ssh_line(entry.ssh)
        if entry.profile != AUTO and entry.profile not in load_profiles():
            known = [AUTO, *load_profiles()]
            raise UsageError(
                f"no profile is called {entry.profile[:60]!r}{near(entry.profile, known)}",
                f"There are: {listed(known)}.",
            )
        for tag in entry.tags:
            if not re.fullmatch(TAG, tag, re.ASCII):
                raise UsageError(f"{tag[:60]!r} cannot be a tag", "Use letters, digits, _ . + and -.")
        if entry.root is not None and not entry.root.startswith(("/", "~/")):
            raise UsageError(f"the root {entry.root[:60]!r} is not an absolute path on the host")
        before = next((old for old in self.list() if old.name == entry.name), None)
        if before is not None and _login(before.ssh) != _login(entry.ssh):
            hint = f"Choose another name, or forget the old one: orch host rm {entry.name}"
            raise UsageError(f"{entry.name} is the name of another host already ({before.ssh})", hint)

    def put(self, entry: HostEntry) -> None:
        """Write a host down. For a known name the line is refreshed, and what is not given stays as it was.

        Raises:
            UsageError: see `check_new`; or the inventory cannot be written.
        """
        with self._changing() as hosts:
            self.check_new(entry)
            fields: dict[str, Any] = hosts.get(entry.name) or {}
            fields["ssh"] = entry.ssh
            given = {
                "profile": entry.profile if entry.profile != AUTO else None,
                "tags": list(entry.tags) or None,
                "root": entry.root,
                "python": entry.python,
            }
            fields.update({key: value for key, value in given.items() if value is not None})
            hosts[entry.name] = fields

    def remove(self, name: str) -> None:
        """Forget a host.

        Raises:
            UsageError: there is none of that name.
        """
        with self._changing() as hosts:
            self.get(name)
            del hosts[name]

    def rename(self, name: str, new: str) -> None:
        """Give a host another name; its place in the file stays.

        Raises:
            UsageError: there is none of that name, or the new one cannot be used or is taken.
        """
        with self._changing() as hosts:
            self.get(name)
            _check_name(new)
            if new in hosts:
                raise UsageError(f"{new} is the name of another host already")
            place = list(hosts).index(name)
            comment = hosts.ca.items.pop(name, None)
            hosts.insert(place, new, hosts.pop(name))
            if comment is not None:
                hosts.ca.items[new] = comment

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Any]:
        """Yield the file's content for changing; one process at a time, and written only when nothing was raised."""
        private_folder(self._home)
        with _locked(self._home / LOCK):
            self.list()  # what cannot be read is not rewritten
            yaml = YAML(typ="rt", pure=True)
            yaml.preserve_quotes = True
            yaml.width = 4096
            text = self.path.read_text(encoding="utf-8-sig") if self.path.exists() else ""
            content = yaml.load(text if text.strip() else _HEAD + "{}\n")
            if content is None:
                content = yaml.load(text.rstrip() + "\n{}\n")
            content.fa.set_block_style()
            yield content
            stream = io.StringIO()
            if content:
                yaml.dump(content, stream)
            else:
                stream.write(_HEAD)
            _replace(self.path, stream.getvalue().encode("utf-8"))


def _check_name(name: str) -> None:
    if not re.fullmatch(HOST_NAME, name, re.ASCII):
        raise UsageError(
            f"a host cannot be called {name[:60]!r}", "Use letters, digits, _ . and -, a letter or _ first."
        )
    if name in HOST_MEANINGS:
        raise UsageError(f"a host cannot be called {name!r}: that word means something in jobs.yaml")


def _login(line: str) -> tuple[object, ...]:
    """Return what makes two lines the same login: everything but the port and the keys."""
    found = SshLine() if line == LOCAL else read_ssh_line(line)
    return line == LOCAL, found.host.lower(), found.user


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that every system has and that ends with its holder: a write lock on an empty SQLite file."""
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    except sqlite3.OperationalError as error:
        raise UsageError(f"the inventory cannot be changed now: {error}", "Another orch may be writing it.") from error
    finally:
        connection.close()


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, readable by its owner only."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
