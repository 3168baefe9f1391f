"""Profiles: told by what lies on a host, never by its name alone."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.hosts.profiles import AUTO, detect, load_profiles, probe_paths
from orchestrator.spec.fields import PROFILES


def hello(*paths: str, hostname: str = "h", user: str = "root") -> dict[str, Any]:
    return {"paths": {path: path in paths for path in probe_paths()}, "hostname": hostname, "user": user}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (hello(), "generic"),
        ({}, "generic"),
        (hello("/root/autodl-tmp", hostname="autodl-container-abc123"), "autodl"),
        (hello("/root/autodl-tmp", "/init/boot/boot.sh"), "autodl"),
        (hello(hostname="autodl-container-abc123"), "generic"),
        (hello("/root/autodl-tmp"), "generic"),
        (hello("/hy-tmp"), "gpushare"),
        (hello("/lambda/nfs", user="ubuntu"), "lambda"),
        (hello("/home/featurize/work", user="featurize"), "featurize"),
        (hello("/home/featurize/work", user="root"), "generic"),
        (hello("/mnt", "/output", "/workspace"), "generic"),
    ],
)
def test_detection(said: dict[str, Any], name: str) -> None:
    assert detect(said).name == name


def test_autodl_keeps_its_spool_on_the_data_disk_where_there_is_one() -> None:
    profile = load_profiles()["autodl"]
    told = profile.for_agent(hello("/root/autodl-tmp"))
    assert told["root"] == "/root/autodl-tmp/.orch"
    assert told["conda_roots"] == ["/root/miniconda3"]
    assert told["identity"] == ["uname", "-n"]
    assert profile.for_agent(hello())["root"] is None
    assert profile.for_agent()["root"] is None


def test_every_profile_is_told_apart_from_what_was_tried() -> None:
    profiles = load_profiles()
    assert set(profiles) == {
        *("generic", "autodl", "vast", "runpod", "lambda", "matpool", "gpushare", "featurize", "openbayes")
    }
    assert [name for name, profile in profiles.items() if profile.tried] == ["generic"]
    fields = {"name", "identity", "root", "conda_roots", "path", "variables", "boot_hook"}
    for profile in profiles.values():
        assert set(profile.for_agent(hello())) == fields


def test_the_files_people_write_know_the_same_profiles() -> None:
    assert list(PROFILES) == [AUTO, *load_profiles()]


def test_what_is_asked_of_a_host_is_absolute() -> None:
    assert probe_paths() == sorted(set(probe_paths()))
    assert all(path.startswith("/") for path in probe_paths())
