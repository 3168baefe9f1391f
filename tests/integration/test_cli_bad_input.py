"""Bad input as people meet it: one sentence with its place, exit 2, no host is spoken to, nothing is written down."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness.cli import Laptop

JOB = "jobs:\n  train:\n    run: python train.py\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcde", "bcdef", strict=True)
)
SECRET = "hunter22-and-more"


class Trap:
    """A laptop whose one host would notice it if it were spoken to."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self.laptop = Laptop(folder / "home", folder / "digits")
        self.listener = listener
        self.state = self.laptop.home / "orch"
        self.state.mkdir()
        line = f"ssh -p {listener.getsockname()[1]} root@127.0.0.1"
        (self.state / "hosts.yaml").write_text(f'box: {{ssh: "{line}"}}\n', encoding="utf-8")
        self.laptop.write("train.py", "print('hello')\n")

    def refused(self, *words: str, env: dict[str, str] | None = None) -> list[str]:
        """Run a command that must be refused; return what it says, line by line."""
        done = self.laptop.orch(*words, code=2, env=env)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()

    def untouched(self) -> None:
        """Fail if the host was spoken to, or anything of a submission is kept."""
        with pytest.raises(BlockingIOError):
            self.listener.accept()
        store = self.state / "orch.db"
        if store.exists():
            with closing(sqlite3.connect(store)) as database:
                for table in ("submissions", "parts", "jobs", "views"):
                    assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert {path.name for path in self.laptop.folder.iterdir()} <= {"jobs.yaml", "train.py"}


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        made = Trap(tmp_path, listener)
        yield made
        made.untouched()


SPOILT: dict[str, tuple[str | bytes, str]] = {
    "a key twice": (JOB + "    run: x\n", "4:5: the key 'run' stands here twice; the first is in line 3"),
    "two jobs of one name": (
        JOB + "  train: {run: x}\n",
        "4:3: the key 'train' stands here twice; the first is in line 2",
    ),
    "an unknown key": (JOB + "    timout: 2h\n", "4:5: unknown key 'timout' in job 'train'; did you mean 'timeout'?"),
    "a wrong type": (JOB + "    env: [A=b]\n", "4:10: `env` must be a map"),
    "a wrong value": (
        JOB + "    timeout: 2 hourz\n",
        "4:14: `timeout` must be a duration such as 30s, 10m, 2h or 1h30m, not '2 hourz'",
    ),
    "a bare boolean": (
        JOB + "    env: {A: true}\n",
        '4:14: `A` must be text; a bare true is refused, say "true" or "1"',
    ),
    "a reference to nothing": (
        JOB + "    setup: pip ${{ matrix.lrr }}\n    matrix: {lr: [1e-3]}\n",
        "4:16: ${{ matrix.lrr }} names nothing; did you mean 'lr'?",
    ),
    "an empty matrix": (JOB + "    matrix: {lr: []}\n", "4:18: the matrix is empty: `lr` has no value"),
    "another encoding": (JOB.encode("utf-16"), "1:1: the file is UTF-16, and only UTF-8 is read"),
    "no encoding at all": ((JOB + "    # 训练\n").encode("gbk"), "4:8: the file is not UTF-8 text"),
    "tabs": ("jobs:\n\ttrain:\n\t\trun: x\n", "2:1: a tab stands here, and YAML is indented with spaces"),
    "an anchor bomb": (BOMB + JOB, "5:35: the file unfolds to more than 100,000 values here"),
    "a password": (
        "hosts: {b: {ssh: 'ssh root:hunter22@h'}}\n" + JOB,
        "1:18: a password stands in the login line",
    ),
    "an unknown host": (JOB + "    hosts: bix\n", "4:12: no host is called 'bix'; did you mean 'box'?"),
    "a folder of code that is not there": (JOB + "    code: {path: scr}\n", "4:5: the folder 'scr' is not there"),
    "a folder to start in that is not sent": (
        JOB + "    code: {dir: scr}\n",
        "4:5: `code.dir` names 'scr', and no such folder is sent",
    ),
    "a file of a setup that is not sent": (
        JOB + "    setup: {run: x, files: [a.txt]}\n",
        "4:5: `setup.files` names 'a.txt', and the code has no such file",
    ),
    "a profile that is not known": (
        "hosts: {b: {ssh: h, profile: lamda}}\n" + JOB,
        "1:30: `profile` must be auto, generic, autodl, vast, runpod, lambda, matpool, gpushare, featurize or "
        "openbayes, not 'lamda'; did you mean 'lambda'?",
    ),
    "a secret that is not set": (JOB + "    secrets: [MY_KEY]\n", "4:15: the secret MY_KEY is not set"),
}


@pytest.mark.parametrize(("content", "message"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_file(trap: Trap, content: str | bytes, message: str) -> None:
    (trap.laptop.folder / "jobs.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    first, *hints = trap.refused("submit", "-d")
    assert first == f"orch: error: jobs.yaml:{message}"
    assert all(line.startswith("  ") for line in hints)
    assert "hunter22" not in "".join(hints)


def test_a_value_of_a_secret_in_the_file(trap: Trap) -> None:
    trap.laptop.jobs_yaml(JOB + f"    secrets: [MY_KEY]\n    env: {{OTHER: {SECRET}}}\n")
    said = trap.refused("submit", "-d", env={"MY_KEY": SECRET})
    assert said[0] == "orch: error: jobs.yaml:5:18: the value of the secret MY_KEY stands here"
    assert SECRET not in "".join(said)


def test_a_value_of_a_secret_from_netrc_in_the_file(trap: Trap) -> None:
    netrc = trap.laptop.home / ".netrc"
    netrc.write_text(f"machine api.wandb.ai login user password {SECRET}\n")
    netrc.chmod(0o600)
    trap.laptop.jobs_yaml(JOB + f"    secrets: ['WANDB_API_KEY?']\n    # {SECRET}\n")
    said = trap.refused("submit", "-d")
    assert said[0] == "orch: error: jobs.yaml:5:7: the value of the secret WANDB_API_KEY stands here"
    assert SECRET not in "".join(said)


def test_a_name_that_looks_secret_is_warned_of(trap: Trap) -> None:
    trap.laptop.jobs_yaml(JOB + "    env: {API_KEY: x}\n")
    done = trap.laptop.orch("submit", "--dry-run")
    sentence = "API_KEY looks like a secret, and `env` is kept in plain text; name it under `secrets`"
    assert f"warning: jobs.yaml:4:11: {sentence}" in " ".join(done.stderr.split())


def test_no_file(trap: Trap) -> None:
    assert trap.refused("submit") == [
        "orch: error: there is no jobs.yaml here",
        "  `orch init` writes one; `orch run -- CMD` does without.",
    ]


def test_many_jobs_are_asked_about_first(trap: Trap) -> None:
    trap.laptop.jobs_yaml(JOB + "    matrix: {a: {range: [1, 101]}}\n")
    said = trap.laptop.orch("submit", "-d", code=4).stderr
    assert "That makes 101 jobs: nobody is here to say yes" in said
    assert "Add -y to go on without asking." in said


def test_no_host_at_all(trap: Trap) -> None:
    (trap.state / "hosts.yaml").unlink()
    trap.laptop.jobs_yaml(JOB)
    assert trap.refused("submit", "-d")[:2] == [
        "orch: error: no host is known yet",
        '  orch host add box "ssh -p 38076 root@connect.example.com"',
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--host", "bix"), "no host is called 'bix'; did you mean 'box'?"),
        (("-j", "trian"), "no job is called 'trian'; did you mean 'train'?"),
        (("-m", "lr=2"), "no cell has lr=2"),
        (("-m", "seed=1"), "no matrix has the key 'seed'"),
        (("-m", "lr"), "--matrix takes K=V, not 'lr'"),
        (("--env", "A-B=c"), "'A-B' cannot be the name of a variable"),
    ],
)
def test_options_that_name_nothing(trap: Trap, words: tuple[str, ...], sentence: str) -> None:
    trap.laptop.jobs_yaml(JOB + "    matrix: {lr: [1]}\n")
    assert trap.refused("submit", "-d", *words)[0] == f"orch: error: {sentence}"


def test_an_unknown_option_and_an_unknown_command(trap: Trap) -> None:
    trap.laptop.jobs_yaml(JOB)
    assert "Error: No such option: --dryrun (Possible options: --dry-run)" in trap.refused("submit", "--dryrun")
    assert "Error: No such command 'submti'. Did you mean 'submit'?" in trap.refused("submti")


def test_json_says_it_in_json(trap: Trap) -> None:
    trap.laptop.jobs_yaml("jbos: {}\n")
    (line,) = trap.refused("--json", "submit", "-d")
    assert line == (
        '{"error": {"message": "jobs.yaml:1:1: unknown key \'jbos\' in the file; did you mean \'jobs\'?", '
        '"hint": "Known here: version, project, hosts, defaults, jobs.", "exit_code": 2}}'
    )


def test_a_job_of_no_submission(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "home", tmp_path / "digits")
    laptop.jobs_yaml("hosts: {here: {ssh: local}}\n" + JOB)
    for verb in ("logs", "show", "pull", "cancel", "retry"):
        done = laptop.orch(verb, "trian", code=2)
        assert done.stderr.startswith("orch: error: "), done.stderr
        assert "'trian'" in done.stderr and "Traceback" not in done.stderr
