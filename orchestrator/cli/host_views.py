"""The `orch host …` verbs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from orchestrator.api import Orch
from orchestrator.api.check import check_hosts
from orchestrator.api.hosts import KeyOffer, install_public_key, show_host_key
from orchestrator.cli import ask
from orchestrator.cli.check_view import as_json
from orchestrator.cli.console import OUT, duration, emit, plain, say, table
from orchestrator.cli.opening import opened
from orchestrator.cli.state import GLOBALS
from orchestrator.errors import EXIT_HOST, EXIT_OK
from orchestrator.hosts.inventory import HostEntry
from orchestrator.hosts.target import parse_ssh_line


@dataclass(frozen=True)
class NewHost:
    """What `orch host add` was given."""

    name: str
    line: str
    profile: str
    tags: tuple[str, ...]
    root: str | None


def add(new: NewHost, meet: bool, accept_new: bool) -> int:
    """Do `orch host add`: the line is checked, the host met, and only then written down."""
    if new.line != "local":
        parse_ssh_line(new.line)
    entry = HostEntry(name=new.name, ssh=new.line, profile=new.profile, tags=new.tags, root=new.root)
    with opened(accept_new=accept_new) as orch:
        orch.inventory.check_new(entry)
        if not meet:
            orch.inventory.put(entry)
            say(f"{new.name} is written down; `orch check {new.name}` meets it")
            return EXIT_OK
        orch.extra_hosts[new.name] = entry
        link = orch.link(new.name)
        orch.inventory.put(entry)
        asked = entry.ssh != "local" and ask.interactive() and orch.links.asked_password(new.name)
        if asked and ask.yes_or_no("Install a key so that you are not asked again?", default=True):
            say(install_public_key(orch, entry))
        one = check_hosts(orch, [new.name], [], 60.0)[0]
        if GLOBALS.json:
            emit(as_json(one))
            return EXIT_OK
        gpus = one.facts["gpu"]["gpus"] if one.facts else []
        kinds = Counter(f"{gpu['name']} ({gpu['memory_total_mib']} MiB)" for gpu in gpus)
        found = ", ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in kinds.items()) or "no GPU"
        say(f"{new.name}: {link.hello['user']}@{link.hello['hostname']}, {found}, profile {link.profile_name}", "green")
        for finding in one.findings:
            say(f"  {finding.level}: {finding.text} {finding.remedy}", "yellow")
        if twins := _other_names(orch, new.name):
            say(f"note: {new.name} is the same machine as {', '.join(twins)}; they share one queue", "yellow")
        say("Next: orch init, then orch submit jobs.yaml")
        return EXIT_OK if one.error is None else EXIT_HOST


def _other_names(orch: Orch, name: str) -> list[str]:
    """The hosts whose spool is the very same one."""

    def spool(host: str) -> tuple[object, ...]:
        seen = orch.store.host_seen(host)
        return (seen.host_id, seen.facts.get("root")) if seen else (host,)

    others = [entry.name for entry in orch.inventory.list() if entry.name != name]
    return [other for other in others if spool(other) == spool(name)]


def list_hosts() -> int:
    """Do `orch host list`."""
    with opened() as orch:
        entries = orch.hosts()
        seen = {entry.name: orch.store.host_seen(entry.name) for entry in entries}
        if GLOBALS.json:
            emit(
                [{**_as_dict(entry), "last_seen": s.seen_at if (s := seen[entry.name]) else None} for entry in entries]
            )
            return EXIT_OK
        rows = []
        for entry in entries:
            host = seen[entry.name]
            ago = f"{duration(time.time() - host.seen_at)} ago" if host else "never"
            rows.append((entry.name, entry.ssh, entry.profile, " ".join(entry.tags), ago))
        OUT.print(table("", ("host", "login", "profile", "tags", "last seen"), rows))
        return EXIT_OK


def _as_dict(entry: HostEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "ssh": entry.ssh,
        "profile": entry.profile,
        "tags": list(entry.tags),
        "root": entry.root,
    }


def show(name: str) -> int:
    """Do `orch host show`."""
    with opened() as orch:
        entry = orch.host(name)
        seen = orch.store.host_seen(name)
        known = {
            **_as_dict(entry),
            "host_id": seen.host_id if seen else None,
            "last_seen": seen.seen_at if seen else None,
        }
        if GLOBALS.json:
            emit(known)
        else:
            OUT.print(table("", ("", ""), [(key, "" if value is None else value) for key, value in known.items()]))
        return EXIT_OK


def remove(name: str, yes: bool) -> int:
    """Do `orch host rm`."""
    with opened() as orch:
        orch.inventory.get(name)
        live = [job for job in orch.cached(name) if job.live]
        if live and not yes:
            ask.confirm(f"{len(live)} jobs were live on {name} when it was last seen. Forget it all the same?")
        orch.inventory.remove(name)
        say(f"{name} is forgotten here; on the host nothing was changed")
        return EXIT_OK


def rename(name: str, new: str) -> int:
    """Do `orch host rename`."""
    with opened() as orch:
        orch.inventory.rename(name, new)
        orch.store.rename_host(name, new)
        say(f"{name} is called {new} now")
        return EXIT_OK


def install_key(name: str, accept_new: bool) -> int:
    """Do `orch host key`."""
    with opened(accept_new=accept_new) as orch:
        say(install_public_key(orch, orch.host(name)))
        return EXIT_OK


def trust(name: str, replace: bool, yes: bool) -> int:
    """Do `orch host trust`."""
    with opened() as orch:
        # Each jump host on the way shows its key before the host can show its own.
        while (offer := show_host_key(orch, orch.host(name))).jump:
            if not _trust(name, offer, replace, yes):
                return EXIT_HOST
        return EXIT_OK if _trust(name, offer, replace, yes) else EXIT_HOST


def _trust(name: str, offer: KeyOffer, replace: bool, yes: bool) -> bool:
    """Show a key and take it when the person says so; False when it is left alone."""
    what = f"{offer.label} (a jump host)" if offer.jump else offer.label
    OUT.print(plain(f"{what}: {offer.key_type} {offer.fingerprint}"))
    if offer.known:
        say("this key is trusted already")
        return True
    if offer.changed:
        say(
            "another key is on record for it: rented machines get new keys when reset, and ports change hands", "yellow"
        )
        if not replace:
            say(f"to replace it: orch host trust {name} --replace")
            return False
    if not yes:
        ask.confirm("Trust this key from now on?")
    offer.accept()
    say(f"{what if offer.jump else name} is trusted")
    return True
