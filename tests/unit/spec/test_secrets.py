"""Secrets: names in the file, values from this computer, and never the other way round."""

from __future__ import annotations

from pathlib import Path

import keyring
import pytest
from keyring.backends import null
from keyring.errors import KeyringError

from orchestrator.errors import ConfigError
from orchestrator.spec.build import looks_secret
from orchestrator.spec.jobs import Secret
from orchestrator.spec.secrets import find_secrets, from_environment, from_keyring, from_netrc, refuse_found
from tests.unit.spec.conftest import Load, Refused

VALUE = "hunter22-and-more"


def secrets_of(load: Load, text: str) -> list[tuple[str, bool, str]]:
    (job,) = load(f"jobs: {{t: {{run: x, secrets: {text}}}}}\n").jobs
    return [(secret.name, secret.optional, secret.at_rest) for secret in job.secrets]


def test_every_form(load: Load) -> None:
    text = "[A, 'B?', {name: C}, {name: 'D?', at_rest: disk}, {name: E, at_rest: memory}]"
    assert secrets_of(load, text) == [
        ("A", False, "memory"), ("B", True, "memory"), ("C", False, "memory"), ("D", True, "disk"),
        ("E", False, "memory"),
    ]  # fmt: skip
    assert secrets_of(load, "[]") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[A B]", "1:30: `secrets` must be NAME, or NAME? when it is optional, not 'A B'"),
        ("['A??']", "1:30: `secrets` must be NAME, or NAME? when it is optional, not 'A??'"),
        ("[{name: A-B}]", "1:37: `name` must be NAME, or NAME? when it is optional, not 'A-B'"),
        ("[{at_rest: disk}]", "1:30: an entry of `secrets` has no `name`"),
        ("[{name: A, at_rest: mem}]", "1:49: `at_rest` must be memory or disk, not 'mem'; did you mean 'memory'?"),
        ("[A, 'A?']", "1:33: the secret A is named twice"),
        ("[ORCH_A]", "1:30: 'ORCH_A' cannot be a secret: names that begin with ORCH_ are orch's own"),
        ("{A: b}", "1:29: `secrets` must be a list"),
    ],
)
def test_refused(refused: Refused, text: str, message: str) -> None:
    assert refused(f"jobs: {{t: {{run: x, secrets: {text}}}}}\n")[0] == message


@pytest.mark.parametrize(
    "line",
    ["run: python a.py --key hunter22-and-more", "env: {OTHER: hunter22-and-more}", "run: x  # hunter22-and-more"],
)
def test_a_value_that_stands_in_the_file_is_refused_and_not_repeated(
    load: Load, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("MY_KEY", VALUE)
    text = f"defaults: {{run: y}}\njobs:\n  t:\n    secrets: [MY_KEY]\n    {line}\n"
    with pytest.raises(ConfigError) as caught:
        load(text)
    column = 5 + line.index(VALUE)
    assert caught.value.message.endswith(f"jobs.yaml:5:{column}: the value of the secret MY_KEY stands here")
    assert VALUE not in caught.value.message + caught.value.hint
    assert "change it" in caught.value.hint


def test_a_short_value_counts_as_a_word_only(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIN", "rain")
    assert load("jobs: {t: {run: python train.py, secrets: [PIN]}}\n").jobs
    with pytest.raises(ConfigError, match="the value of the secret PIN stands here"):
        load("jobs: {t: {run: go rain, secrets: [PIN]}}\n")
    monkeypatch.setenv("PIN", "x")
    assert load("jobs: {t: {run: x, secrets: [PIN]}}\n").jobs


def test_a_value_from_elsewhere_is_looked_for_too(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    refuse_found(path, {"A": VALUE})
    path.write_text(f"jobs:\n  t: {{run: x {VALUE}}}\n")
    with pytest.raises(ConfigError) as caught:
        refuse_found(path, {"A": VALUE})
    assert caught.value.message == f"{path}:2:14: the value of the secret A stands here"
    refuse_found(path, {"A": VALUE + "!"})


def test_names_that_look_secret_under_env_are_warned_of(load: Load, tmp_path: Path) -> None:
    env = "      HF_TOKEN: a\n      TOKENIZERS_PARALLELISM: 'false'\n      S: b\n"
    text = f"jobs:\n  t:\n    run: x\n    env:\n{env}    secrets: ['S?']\n"
    at = tmp_path / "jobs.yaml"
    assert load(text).warnings == [
        f"{at}:5:7: HF_TOKEN looks like a secret, and `env` is kept in plain text; name it under `secrets`",
        f"{at}:7:7: the secret S hides the variable of that name under `env`",
    ]
    (said,) = load("jobs: {t: {run: x}}\n", env_overrides={"MY_PASSWORD": "a"}).warnings
    assert said == "MY_PASSWORD looks like a secret, and --env is kept in plain text; name it under `secrets`"


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("PASSWORD", True), ("DB_PASSWORD", True), ("API_KEY", True), ("OPENAI_API_KEY", True), ("APIKEY", True),
        ("HF_TOKEN", True), ("AWS_SECRET_ACCESS_KEY", True), ("wandb_api_key", True), ("CLIENT_SECRET", True),
        ("TOKENIZERS_PARALLELISM", False), ("MAX_TOKENS", False), ("KEY", False), ("MONKEY", False),
        ("SECRETARY", False),
    ],
)  # fmt: skip
def test_what_looks_secret(name: str, is_secret: bool) -> None:
    assert looks_secret(name) is is_secret


def test_values_come_from_the_first_source_that_has_them() -> None:
    first = {"A": "1", "B": ""}.get
    second = {"A": "2", "B": "3"}.get
    wanted = [(Secret("A"), "f:1:1"), (Secret("B"), "f:1:1"), (Secret("C", optional=True), "f:1:1")]
    assert find_secrets(wanted, [first, second]) == {"A": "1", "B": "3"}


def test_one_that_is_not_set() -> None:
    with pytest.raises(ConfigError) as caught:
        find_secrets([(Secret("A", position="jobs.yaml:3:15"), "x:1:1"), (Secret("B", optional=True), "x:1:1")], [])
    assert caught.value.message == "jobs.yaml:3:15: the secret A is not set"
    assert "export A=…" in caught.value.hint and "name it `A?`" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        find_secrets([(Secret("A"), "f:1:1"), (Secret("WANDB_API_KEY"), "f:2:2"), (Secret("A"), "f:3:3")], [])
    assert caught.value.message == "f:1:1: the secrets A, WANDB_API_KEY are not set"
    with pytest.raises(ConfigError) as caught:
        find_secrets([(Secret("WANDB_API_KEY"), "f:2:2")], [])
    assert "wandb login" in caught.value.hint


class Drawer(null.Keyring):
    """A keyring that keeps nothing."""

    def get_password(self, service: str, username: str, password: str | None = None) -> str | None:
        return {("orch", "A"): VALUE, ("other", "B"): VALUE, ("orch", "C"): ""}.get((service, username))


class Locked(null.Keyring):
    """The keyring of a desktop nobody is logged in at."""

    def get_password(self, service: str, username: str, password: str | None = None) -> str | None:
        raise KeyringError("locked")


def test_keyring() -> None:
    before = keyring.get_keyring()
    try:
        keyring.set_keyring(Drawer())  # type: ignore[no-untyped-call]
        assert [from_keyring(name) for name in "ABC"] == [VALUE, None, None]
        keyring.set_keyring(Locked())  # type: ignore[no-untyped-call]
        assert from_keyring("A") is None
    finally:
        keyring.set_keyring(before)


def test_environment_and_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", VALUE)
    monkeypatch.setenv("EMPTY", "")
    assert (from_environment("A_SECRET"), from_environment("EMPTY"), from_environment("NOT_SET")) == (VALUE, None, None)
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    assert from_netrc("WANDB_API_KEY") is None
    netrc.write_text(f"machine api.wandb.ai login user password {VALUE}\n")
    netrc.chmod(0o600)
    assert from_netrc("WANDB_API_KEY") == VALUE
    assert from_netrc("OTHER_KEY") is None
    netrc.write_text("machine api.wandb.ai login\n")
    assert from_netrc("WANDB_API_KEY") is None
