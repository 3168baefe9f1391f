"""The flags of train.py, and what a wrong one costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remote_payload.train.digits.flags import parse

TRAIN = Path(__file__).parents[3] / "remote_payload" / "train" / "train.py"


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCH_OUTPUT_DIR", raising=False)
    args = parse([])
    assert (args.epochs, args.batch_size, args.num_workers, args.seed) == (10, 64, 0, 1)
    assert (args.data, args.wandb, args.output_dir) == ("digits", "auto", Path("output"))


def test_orch_says_where_the_output_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORCH_OUTPUT_DIR", str(tmp_path))
    assert parse([]).output_dir == tmp_path
    assert parse(["--output-dir", "here"]).output_dir == Path("here")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--batch-size", "0"], "0 is not between 1 and 65536"),
        (["--batch-size", "many"], "'many' is not a whole number"),
        (["--epochs", "-1"], "-1 is not between"),
        (["--num-workers", "-1"], "-1 is not between"),
        (["--lr", "nan"], "nan is not between 0 and"),
        (["--lr", "0"], "0 is not between 0 and"),
        (["--lr", "1e38"], "1e38 is not between 0 and"),
        (["--lr", "fast"], "'fast' is not a number"),
        (["--data", "cats"], "invalid choice"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["--download"], "--data mnist"),
        (["--data", "mnist", "--mirror", "http://here/"], "add --download"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_exit_2(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [[str(TRAIN)], ["-m", "remote_payload.train.train"]])
def test_help_and_wrong_flags_need_no_torch(command: list[str]) -> None:
    # -S hides every installed package, so an import of torch would fail.
    where = TRAIN.parents[2]
    run = subprocess.run([sys.executable, "-S", *command, "--help"], cwd=where, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for flag in ("--epochs", "--batch-size", "--num-workers", "--lr", "--seed", "--wandb", "--data-dir", "--download"):
        assert flag in run.stdout
    run = subprocess.run([sys.executable, "-S", *command], cwd=where, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("error: PyTorch is not installed")
    assert run.stderr.count("\n") == 1
