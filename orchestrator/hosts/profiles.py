"""Profiles: what a provider's hosts have in common, and how to see from a host whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from ruamel.yaml import YAML

GENERIC = "generic"
AUTO = "auto"

_FILE = Path(__file__).with_name("profiles.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Detect(_Strict):
    """Signs of a provider.

    Attributes:
        evidence: paths that speak for it.
        hostname_prefix, user: further signs; None = none.
        need: how many signs are enough; at least one must be a path.
    """

    evidence: list[str] = Field(min_length=1)
    hostname_prefix: str | None
    user: str | None
    need: int = Field(ge=1)

    def signs(self, hello: Mapping[str, Any]) -> int:
        """Return how many signs a host shows; 0 when no path is among them."""
        paths: Mapping[str, bool] = hello.get("paths") or {}
        found = sum(1 for path in self.evidence if paths.get(path))
        if not found:
            return 0
        named = self.hostname_prefix is not None and str(hello.get("hostname", "")).startswith(self.hostname_prefix)
        return found + named + (self.user is not None and hello.get("user") == self.user)


class Profile(_Strict):
    """One provider (the fields are explained in profiles.yaml)."""

    name: str
    title: str
    tried: bool
    detect: Detect | None
    data_dir: str | None
    root: str | None
    conda_roots: list[str]
    identity: list[str] | None
    path: str | None
    variables: dict[str, str]
    boot_hook: str | None

    @model_validator(mode="after")
    def _root_is_on_the_data_disk(self) -> Profile:
        if self.root is not None and not self.root.startswith(f"{self.data_dir}/"):
            raise ValueError(f"{self.name}: root {self.root} is not under data_dir {self.data_dir}")
        return self

    def for_agent(self, hello: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what the agent is told: {name, identity, root, conda_roots, path, variables, boot_hook}.

        Args:
            hello: what the host said of itself; `root` is None unless it has seen the data disk.
        """
        paths: Mapping[str, bool] = (hello or {}).get("paths") or {}
        return {
            "name": self.name,
            "identity": self.identity,
            "root": self.root if self.data_dir and paths.get(self.data_dir) else None,
            "conda_roots": list(self.conda_roots),
            "path": self.path,
            "variables": dict(self.variables),
            "boot_hook": self.boot_hook,
        }


@lru_cache(maxsize=1)
def load_profiles() -> dict[str, Profile]:
    """Return the known profiles by name."""
    raw = YAML(typ="safe", pure=True).load(_FILE.read_text(encoding="utf-8"))
    named = {name: {"name": name, **fields} for name, fields in raw.items()}
    return TypeAdapter(dict[str, Profile]).validate_python(named)


def probe_paths() -> list[str]:
    """Return the paths a host is asked about, so that its profile can be told."""
    wanted: set[str] = set()
    for profile in load_profiles().values():
        wanted.update(profile.detect.evidence if profile.detect else ())
        wanted.update([profile.data_dir] if profile.data_dir else ())
    return sorted(wanted)


def detect(hello: Mapping[str, Any]) -> Profile:
    """Return the profile a host shows most signs of; `generic` when none shows enough.

    Args:
        hello: what the agent said: `paths` {path: exists}, `hostname`, `user`.
    """
    profiles = load_profiles()
    best, most = profiles[GENERIC], 0
    for profile in profiles.values():
        signs = profile.detect.signs(hello) if profile.detect else 0
        if profile.detect and signs >= profile.detect.need and signs > most:
            best, most = profile, signs
    return best
