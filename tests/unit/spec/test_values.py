"""Values with a form of their own: python, hosts, durations, memory, outputs, code."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.spec.durations import parse_duration
from orchestrator.spec.jobs import CodeSpec, ExpandedJob, HostEntry
from orchestrator.spec.sizes import memory_mib
from tests.unit.spec.conftest import Load, Refused


def job_of(load: Load, keys: str) -> ExpandedJob:
    return load(f"jobs: {{t: {{run: x, {keys}}}}}\n").jobs[0]


def said(refused: Refused, keys: str) -> str:
    """Return the sentence without its place."""
    return refused(f"jobs: {{t: {{run: x, {keys}}}}}\n")[0].split(": ", 1)[1]


@pytest.mark.parametrize(
    ("python", "spec"),
    [
        ("auto", {"kind": "auto"}),
        ("{conda: torch-2.1}", {"kind": "conda", "name": "torch-2.1"}),
        ("{conda: 3.10}", {"kind": "conda", "name": "3.10"}),
        ("{conda: /root/envs/a}", {"kind": "conda", "name": "/root/envs/a"}),
        ("{venv: ~/venvs/a}", {"kind": "venv", "path": "~/venvs/a"}),
        ("{path: /usr/bin/python3}", {"kind": "path", "path": "/usr/bin/python3"}),
    ],
)
def test_python(load: Load, python: str, spec: dict[str, Any]) -> None:
    assert job_of(load, f"python: {python}").python == spec


FORMS = "auto, {conda: NAME}, {venv: PATH} or {path: /abs/python}"


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("base", f"`python` must be {FORMS}; did you mean {{conda: base}}?"),
        ("autp", f"`python` must be {FORMS}; did you mean 'auto'?"),
        ("3.10", f"`python` must be {FORMS}"),
        ("{}", f"`python` must be {FORMS}"),
        ("{conda: a, venv: /b}", f"`python` must be one of {FORMS}, not several"),
        ("{venv: envs/a}", "`venv` must be an absolute path on the host (or begin with ~/), not 'envs/a'"),
        ("{path: python3}", "`path` must be an absolute path on the host (or begin with ~/), not 'python3'"),
        ("{conda: {name: a}}", "`conda` must be text"),
        ("{conda: ''}", "`conda` must be one line of text"),
    ],
)
def test_python_refused(refused: Refused, python: str, sentence: str) -> None:
    assert said(refused, f"python: {python}") == sentence


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ("any", []),
        ("box", ["box"]),
        ("[box, b2]", ["box", "b2"]),
        ("'tag:4090'", ["tag:4090"]),
        ("[a, tag:b]", ["a", "tag:b"]),
    ],
)
def test_hosts_of_a_job(load: Load, hosts: str, words: list[str]) -> None:
    assert [word.text for word in job_of(load, f"hosts: {hosts}").hosts.words] == words


def test_hosts_know_where_they_stand(load: Load) -> None:
    (job,) = load("jobs:\n  t:\n    run: x\n    hosts: [box,\n      tag:b]\n").jobs
    assert [word.position.split("jobs.yaml:")[1] for word in job.hosts.words] == ["4:13", "5:7"]


@pytest.mark.parametrize(
    ("hosts", "sentence"),
    [
        ("5", "`hosts` must be any, a host's name, a list of names, or tag:NAME"),
        ("[]", "`hosts` must name a host; the list is empty"),
        ("root@h", "`hosts` must be any, a host's name, a list of names, or tag:NAME, not 'root@h'"),
        ("[any, box]", "`hosts` must be any, or the hosts by name, not both"),
        ("'tag:'", "`hosts` must be tag:NAME, not 'tag:'"),
    ],
)
def test_hosts_refused(refused: Refused, hosts: str, sentence: str) -> None:
    assert said(refused, f"hosts: {hosts}") == sentence


def test_hosts_of_the_project(load: Load) -> None:
    file = load("""\
hosts:
  box: {ssh: "ssh -p 38076 root@h", profile: autodl, tags: [4090, fast], root: /data/.orch, python: /opt/py/bin/python3}
  here: {ssh: local, root: auto}
jobs: {t: {run: x}}
""")
    assert file.hosts == {
        "box": HostEntry(
            "box", "ssh -p 38076 root@h", "autodl", ("4090", "fast"), "/data/.orch", "/opt/py/bin/python3"
        ),
        "here": HostEntry("here", "local"),
    }


NEAREST = "; did you mean 'autodl'?"
PROFILES = "auto, generic, autodl, vast, runpod, lambda, matpool, gpushare, featurize or openbayes"
PASSWORD = (
    "Leave it out: orch asks for it once, or takes it from the keyring or from ORCH_PASSWORD_<HOST> in the environment."
)


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        ("{ssh: 'sshpass -p hunter22 ssh root@h'}", "1:20: a password stands in the login line", PASSWORD),
        ("{ssh: 'root:hunter22@h'}", "1:20: a password stands in the login line", PASSWORD),
        ("{ssh: 'ssh://root:hunter22@h:22'}", "1:20: a password stands in the login line", PASSWORD),
        ("{ssh: 'ssh -J u:hunter22@gate h'}", "1:20: a password stands in the login line", PASSWORD),
        (
            "{ssh: h, password: hunter22}",
            "1:23: a password may not stand in a file that is shared and kept",
            PASSWORD.replace("Leave", "Take"),
        ),
        (
            "{ssh: 'scp a root@h:b'}",
            "1:20: this is a line for scp, not for ssh",
            "Type the ssh line: ssh -p 38076 root@connect.example.com",
        ),
        ("{ssh: ''}", "1:20: `ssh` must be one line of text", ""),
        (
            "{ssh: h, profile: autodll}",
            f"1:32: `profile` must be {PROFILES}, not 'autodll'; did you mean 'autodl'?",
            "",
        ),
        ("{}", "1:9: host 'box' has no `ssh`", ""),
        ("", "1:9: host 'box' has no `ssh`", ""),
        ("{ssh: h, root: data}", "1:29: `root` must be auto or an absolute path on the host, not 'data'", ""),
        ("{ssh: h, tags: [a b]}", "1:30: `tags` must be a word, not 'a b'", ""),
    ],
)
def test_hosts_of_the_project_refused(refused: Refused, host: str, message: str, hint: str) -> None:
    told = refused(f"hosts: {{box: {host}}}\njobs: {{t: {{run: x}}}}\n")
    assert told == (message, hint)
    assert "hunter22" not in "".join(told)


@pytest.mark.parametrize("name", ["any", "auto", "none", "1a", "a/b", "root@h"])
def test_names_that_no_host_can_have(refused: Refused, name: str) -> None:
    assert refused(f"hosts: {{'{name}': {{ssh: h}}}}\njobs: {{t: {{run: x}}}}\n")[0] == (
        "1:9: a key of `hosts` must be a name of letters, digits, _, - and . (but any, auto, none), "
        f"beginning with a letter or _, not {name!r}"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("none", None), ("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604800), ("1h30m", 5400), ("1h 30m", 5400),
        ("1.5h", 5400), ("90 minutes", 5400), ("2 Hours", 7200), ("45", 45), ("0.5", 0.5), ("1d2h3m4s", 93784),
    ],
)  # fmt: skip
def test_timeouts(load: Load, text: str, seconds: float | None) -> None:
    assert job_of(load, f"timeout: {text}").timeout == seconds


@pytest.mark.parametrize("text", ["2 hourz", "h", "-1", "1h-2m", "30m1h", "1e999", ".inf", "tomorrow", "1 2"])
def test_what_is_no_duration(refused: Refused, text: str) -> None:
    sentence = f"`timeout` must be a duration such as 30s, 10m, 2h or 1h30m, not {text!r}"
    assert said(refused, f"timeout: {text}") == sentence


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("timeout: 0", "`timeout` must be longer than 0; `none` is no limit"),
        ("timeout: 11 d 99999h", "`timeout` must be shorter than ten years"),
        ("timeout: true", "`timeout` must be a duration such as 30s, 10m, 2h or 1h30m"),
        ("timeout: [1h]", "`timeout` must be a duration such as 30s, 10m, 2h or 1h30m"),
        ("grace: none", "`grace` must be a duration such as 30s, 10m, 2h or 1h30m, not 'none'"),
    ],
)
def test_durations_that_are_refused(refused: Refused, keys: str, sentence: str) -> None:
    assert said(refused, keys) == sentence


def test_durations_of_the_command_line() -> None:
    assert parse_duration("1h30m") == 5400.0
    with pytest.raises(UsageError) as caught:
        parse_duration("2 hourz")
    assert caught.value.message == "the time must be a duration such as 30s, 10m, 2h or 1h30m, not '2 hourz'"


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("20GB", 20480),
        ("16 GiB", 16384),
        ("24g", 24576),
        ("512MB", 512),
        ("1.5 G", 1536),
        ("1T", 1 << 20),
        (0, 0),
        ("0", 0),
    ],
)
def test_memory(text: object, mib: int) -> None:
    assert memory_mib(text) == mib


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ("{gpu_memory: 20}", "`gpu_memory` must be a size with its unit such as 20GB or 16 GiB, not '20'"),
        ("{gpu_memory: 20KB}", "`gpu_memory` must be a size with its unit such as 20GB or 16 GiB, not '20KB'"),
        ("{gpu_memory: -1GB}", "`gpu_memory` must be a size with its unit such as 20GB or 16 GiB, not '-1GB'"),
        ("{gpu_memory: 99999999TB}", "`gpu_memory` must be a size such as 20GB or 16 GiB, and that is too large"),
        ("{gpus: -1}", "`gpus` must be auto, a whole number of GPUs, or a part of one below 1, not '-1'"),
        ("{gpus: 1.5}", "`gpus` must be auto, a whole number of GPUs, or a part of one below 1, not '1.5'"),
        ("{gpus: all}", "`gpus` must be auto, a whole number of GPUs, or a part of one below 1, not 'all'"),
        ("{gpus: true}", "`gpus` must be auto, a whole number of GPUs, or a part of one below 1, not 'true'"),
        ("{gpus: 1025}", "`gpus` must be auto, a whole number of GPUs, or a part of one below 1, not '1025'"),
        ("4", "`resources` must be a map"),
    ],
)
def test_resources_refused(refused: Refused, resources: str, sentence: str) -> None:
    assert said(refused, f"resources: {resources}") == sentence


def test_resources(load: Load) -> None:
    assert job_of(load, "resources: {gpus: 0}").gpus == 0
    assert job_of(load, "resources: {gpus: auto, gpu_memory: 0}").gpus == "auto"
    job = job_of(load, "resources: {gpus: 8, gpu_memory: 40GB}")
    assert (job.gpus, job.gpu_memory_mib) == (8, 40960)


def test_outputs_and_pull(load: Load) -> None:
    assert job_of(load, "outputs: auto").outputs == "auto"
    job = job_of(load, "outputs: [checkpoints/**, '*.png'], pull: never")
    assert (job.outputs, job.pull) == (("checkpoints/**", "*.png"), "never")
    assert job_of(load, "outputs: []").outputs == ()


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ("checkpoints", "`outputs` must be auto or a list of patterns, as in [checkpoints/**, '*.png']"),
        ("[/root/x]", "`outputs` must hold patterns inside the job's folder, and '/root/x' leads out of it"),
        ("[../x]", "`outputs` must hold patterns inside the job's folder, and '../x' leads out of it"),
        ("[a/../../x]", "`outputs` must hold patterns inside the job's folder, and 'a/../../x' leads out of it"),
        ("[~/x]", "`outputs` must hold patterns inside the job's folder, and '~/x' leads out of it"),
        ("[{a: b}]", "`outputs` must be text"),
    ],
)
def test_outputs_refused(refused: Refused, outputs: str, sentence: str) -> None:
    assert said(refused, f"outputs: {outputs}") == sentence


def test_code(load: Load) -> None:
    job = job_of(load, "code: {path: ../lib, dir: ./src/a/, ignore: ['*.ckpt'], include: [best.ckpt]}")
    assert job.code == CodeSpec("../lib", "src/a", ("*.ckpt",), ("best.ckpt",))
    assert job_of(load, r"code: {dir: 'src\a'}").code.dir == "src/a"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("{dir: ../x}", "`dir` must be a folder inside the code, not '../x'"),
        ("{dir: /x}", "`dir` must be a folder inside the code, not '/x'"),
        ("{ignore: '*.ckpt'}", "`ignore` must be a list"),
        ("{path: ''}", "`path` must be one line of text"),
    ],
)
def test_code_refused(refused: Refused, code: str, sentence: str) -> None:
    assert said(refused, f"code: {code}") == sentence


def test_setup_none(load: Load) -> None:
    assert job_of(load, "setup: none").setup is None
