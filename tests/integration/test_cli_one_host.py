"""A spool belongs to one host, and one broken file to one job: through the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.loopback import BARE_PATH, LoopbackHost, make_key
from remote_payload.agent.spool import secrets
from remote_payload.agent.spool.paths import SpoolPaths
from tests.harness.cli import Laptop
from tests.harness.waiting import wait_until

HELD = "run: 'until [ -e ~/go ]; do sleep 0.05; done; echo done'"


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path / "home", tmp_path / "project")
    made.jobs_yaml("jobs: {train: {run: echo trained}}\n")
    yield made
    (made.home / "go").touch()


def spools(home: Path) -> list[Path]:
    return sorted((home / ".orch" / "hosts").glob("*/spool"))


@pytest.fixture
def servers(tmp_path: Path, laptop: Laptop) -> Iterator[list[str]]:
    """Two servers, one HOME between them, as on a network file system."""
    key = tmp_path / "key"
    public = make_key(key)
    names = ["one", "two"]
    known: list[str] = []
    with ExitStack() as stack:
        for name in names:
            tools = tmp_path / name
            tools.mkdir()
            (tools / "uname").write_text(f'#!/bin/sh\n[ "$*" = -n ] && echo container-{name} || exec /bin/uname "$@"\n')
            (tools / "uname").chmod(0o755)
            sshd = LoopbackHost(tmp_path / f"sshd-{name}", tmp_path / "shared", [public], path=f"{tools}:{BARE_PATH}")
            stack.enter_context(sshd)
            known.append(f"[127.0.0.1]:{sshd.port} {sshd.public_key()}\n")
            line = f"ssh -p {sshd.port} -i {key} 127.0.0.1"
            laptop.orch("host", "add", name, line, "--profile", "autodl", "--no-check")
        (laptop.home / "orch" / "known_hosts").write_text("".join(known))
        yield names


def test_a_home_that_two_servers_share_holds_a_queue_for_each(
    laptop: Laptop, servers: list[str], tmp_path: Path
) -> None:
    laptop.jobs_yaml(f"jobs: {{train: {{{HELD}, python: {{path: /usr/bin/python3}}}}}}\n")
    for name in servers:
        laptop.orch("submit", "-d", "--again", "--host", name)
    assert len(spools(tmp_path / "shared")) == 2
    wait_until(lambda: {job["state"] for job in laptop.json("status")["jobs"]} == {"RUNNING"}, 60)
    (tmp_path / "shared" / "go").touch()
    laptop.orch("wait")
    jobs = laptop.json("status")["jobs"]
    assert sorted((job["host"], job["state"], job["attempt"]) for job in jobs) == [
        ("one", "SUCCEEDED", 1),
        ("two", "SUCCEEDED", 1),
    ]


def test_a_data_disk_that_is_not_mounted(laptop: Laptop, tmp_path: Path) -> None:
    disk, away = tmp_path / "disk", tmp_path / "away"
    disk.mkdir()
    laptop.orch("host", "add", "here", "local", "--root", f"{disk}/.orch")
    laptop.orch("submit")
    disk.rename(away)
    (tmp_path / "disk").mkdir()
    for words, code in ((["submit", "-d", "--again"], 3), (["pull", "train"], None)):
        assert "orch: error: " in laptop.orch(*words, code=code).stderr or code is None
    assert str(disk) in laptop.orch("check", code=3).stdout
    assert list(disk.iterdir()) == [], "no second queue below the mount point"
    disk.rmdir()
    away.rename(disk)
    laptop.orch("submit", "--again")
    assert [job["state"] for job in laptop.json("status")["jobs"]] == ["SUCCEEDED"] * 2


def test_secrets_that_a_reboot_took_are_given_again(laptop: Laptop) -> None:
    laptop.env.update(MY_TOKEN="tell-nobody", KEPT="on-disk")
    laptop.jobs_yaml(
        "jobs:\n  train:\n    run: 'echo $MY_TOKEN $KEPT | tr a-z A-Z'\n"
        "    secrets: [MY_TOKEN, {name: KEPT, at_rest: disk}]\n"
    )
    laptop.orch("host", "add", "here", "local")
    laptop.orch("host", "pause", "here")
    laptop.orch("submit", "-d")
    (spool,) = spools(laptop.home)
    shutil.rmtree(secrets.memory_folder(SpoolPaths(str(spool))))
    del laptop.env["MY_TOKEN"]
    laptop.orch("host", "resume", "here")
    wait_until(lambda: "(MY_TOKEN)" in laptop.orch("show", "train").stdout, 60)
    assert [job["waiting_for"] for job in laptop.json("status")["jobs"]] == ["secret_needed"]
    laptop.env["MY_TOKEN"] = "tell-nobody"
    assert "was given the secrets" in laptop.orch("status").stderr
    laptop.orch("wait", "train")
    assert "TELL-NOBODY ON-DISK" in laptop.orch("logs", "train").stdout
    for path in spool.rglob("*"):
        assert not path.is_file() or b"tell-nobody" not in path.read_bytes(), path


def test_a_host_gets_no_secret_that_was_not_sent_with_the_job(laptop: Laptop) -> None:
    laptop.env.update(MY_TOKEN="mine", OTHER="another's")
    laptop.jobs_yaml("jobs: {train: {run: 'true', secrets: [MY_TOKEN]}}\n")
    laptop.orch("host", "add", "here", "local")
    laptop.orch("host", "pause", "here")
    laptop.orch("submit", "-d")
    (spool,) = spools(laptop.home)
    (stored,) = (spool / "submits").glob("s-*.json")
    stored.write_text(stored.read_text().replace("MY_TOKEN", "OTHER"))
    assert "was given" not in laptop.orch("status").stderr
    assert not list(Path(secrets.memory_folder(SpoolPaths(str(spool)))).rglob("OTHER"))
    laptop.orch("cancel", "train")


BROKEN = {
    "cancel.json": b'{"at": 1',
    "priority.json": b"[]",
    "attempts/1/start.json": b"\0\0\0\0",
    "attempts/1/end.json": b"",
}


def test_a_broken_file_sets_its_job_aside_and_is_named(laptop: Laptop) -> None:
    laptop.orch("host", "add", "here", "local")
    laptop.orch("host", "pause", "here")
    names = [f"j{n}" for n in range(len(BROKEN))]
    jobs = "".join(f"  {name}: {{run: echo fine}}\n" for name in [*names, "good"])
    laptop.jobs_yaml(f"jobs:\n{jobs}")
    sent = laptop.json("submit", "-d")["jobs"]
    (spool,) = spools(laptop.home)
    ids = {job["name"]: job["id"] for job in sent}
    for name, (file, data) in zip(names, BROKEN.items(), strict=True):
        path = spool / "jobs" / ids[name] / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (spool / "submits" / "s-broken0000.json").write_bytes(b'{"id": ')
    laptop.orch("host", "resume", "here")
    laptop.orch("wait", "good")
    shown = {job["name"]: job for job in laptop.json("status")["jobs"]}
    assert shown["good"]["state"] == "SUCCEEDED"
    for name, file in zip(names, BROKEN, strict=True):
        assert shown[name]["waiting_for"] == "spool_file_broken", name
        assert file in laptop.orch("show", name).stdout
    text = laptop.orch("status").stdout
    assert "s-broken0000.json" in text, text
    assert any("s-broken0000.json" in one for host in laptop.json("status")["hosts"] for one in host["broken"])
    for name, file in zip(names, BROKEN, strict=True):
        path = spool / "jobs" / ids[name] / file
        path.unlink()
        if path.parent.name == "1":
            path.parent.rmdir()
    laptop.orch("wait", *names)


def test_a_spool_of_another_version_is_refused(laptop: Laptop) -> None:
    laptop.orch("host", "add", "here", "local")
    laptop.orch("submit")
    (spool,) = spools(laptop.home)
    (spool / "VERSION").write_text("999\n")
    *_, error, hint = laptop.orch("submit", "-d", "--again", code=3).stderr.splitlines()
    assert error.endswith("has layout 999, this orch knows 1") and hint.strip() == "use the newer orch"


def test_two_laptops_at_the_same_moment_lose_nothing(laptop: Laptop, tmp_path: Path) -> None:
    other = Laptop(laptop.home, tmp_path / "other", env={"ORCH_HOME": str(tmp_path / "other-state")})
    other.jobs_yaml("project: project\njobs: {train: {run: echo other}}\n")
    for one in (laptop, other):
        one.orch("host", "add", "here", "local")
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda one: one.json("submit", "-d", "--again"), [laptop, other] * 3))
    ids = {job["id"] for one in sent for job in one["jobs"]}
    laptop.orch("wait", *ids)
    seen = {job["id"]: job for job in other.json("status")["jobs"]}
    assert set(seen) == ids and {(job["state"], job["attempt"]) for job in seen.values()} == {("SUCCEEDED", 1)}
