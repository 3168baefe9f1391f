"""The payload, really trained: in a folder with no orch, and from the checkout as a module."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

from orchestrator.demo_files import write_demo_project
from remote_payload.train.digits.model import Net
from tests.unit.train.idx_files import write_part

ROOT = Path(__file__).parents[2]
EPOCH = re.compile(r"^epoch (\d+)/(\d+) .*train loss .* accuracy .* test loss .* accuracy", re.MULTILINE)


def _train(arguments: list[str], cwd: Path, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `arguments` in `cwd`, with a HOME of its own and no login of the developer's."""
    keep = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    environment = {**keep, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=150, check=False
    )


def _metrics(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the payload's files."""
    folder = tmp_path_factory.mktemp("alone")
    write_demo_project(folder)
    return folder / "remote_payload" / "train"


def test_three_epochs_as_jobs_yaml_runs_them(alone: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = _train(["train.py", "--epochs", "3"], alone, tmp_path, ORCH_OUTPUT_DIR=str(output))
    assert run.returncode == 0, run.stderr

    lines = _metrics(output)
    assert [(line["epoch"], line["epochs"]) for line in lines] == [(1, 3), (2, 3), (3, 3)]
    assert lines[-1]["test_accuracy"] > 0.9
    assert lines[-1]["test_loss"] < lines[0]["test_loss"]
    assert lines[0]["lr"] == 0.001
    assert lines[1]["lr"] == pytest.approx(0.0009)  # StepLR
    assert EPOCH.findall(run.stdout) == [("1", "3"), ("2", "3"), ("3", "3")]
    assert len(re.findall(r"^Elapsed time is \d+\.\d\d seconds$", run.stdout, re.MULTILINE)) == 3
    if not torch.cuda.is_available():
        assert "warning: CUDA is not available" in run.stdout

    model = Net()
    model.load_state_dict(torch.load(output / "model.pt", weights_only=True))
    checkpoint = torch.load(output / "checkpoint.pt", weights_only=True)
    assert checkpoint["epoch"] == 3
    assert set(checkpoint) == {"epoch", "model", "optimizer", "scheduler", "metrics"}
    model.load_state_dict(checkpoint["model"])

    # No key: wandb wrote offline, into the output folder and nowhere near the code.
    assert len(list((output / "wandb").glob("offline-run-*/*.wandb"))) == 1
    assert "wandb: offline" in run.stdout
    assert sorted(path.name for path in output.iterdir()) == ["checkpoint.pt", "metrics.jsonl", "model.pt", "wandb"]
    assert not (alone / "wandb").exists()
    assert not (alone / "output").exists()


def test_same_seed_same_numbers_also_as_a_module_and_with_loader_processes(alone: Path, tmp_path: Path) -> None:
    flags = ["--epochs", "2", "--seed", "7", "--wandb", "off", "--output-dir"]
    first = _train(["train.py", *flags, str(tmp_path / "1")], alone, tmp_path)
    assert first.returncode == 0, first.stderr
    module = ["-m", "remote_payload.train.train", *flags, str(tmp_path / "2"), "--num-workers", "2"]
    second = _train(module, ROOT, tmp_path)
    assert second.returncode == 0, second.stderr
    one, two = _metrics(tmp_path / "1"), _metrics(tmp_path / "2")
    for line in (*one, *two):
        assert line.pop("seconds") > 0
    assert one == two
    assert not (tmp_path / "1" / "wandb").exists()
    assert "wandb: off" in first.stdout


def test_mnist_files_from_a_folder(alone: Path, tmp_path: Path) -> None:
    bunch = load_digits()
    images = [bytes(28 * 28 - 64) + (image * 15).astype("uint8").tobytes() for image in bunch.images[:300]]
    labels = [int(label) for label in bunch.target[:300]]
    write_part(tmp_path / "data", "train", images[:200], labels[:200], packed=True)
    write_part(tmp_path / "data", "t10k", images[200:], labels[200:], packed=False)
    flags = ["--data", "mnist", "--data-dir", str(tmp_path / "data"), "--epochs", "1", "--wandb", "off"]
    run = _train(["train.py", *flags, "--output-dir", str(tmp_path / "out")], alone, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "data: mnist, 200 images to train on, 100 to test on" in run.stdout
    assert len(_metrics(tmp_path / "out")) == 1


def test_bad_data_is_one_sentence_exit_2_and_leaves_earlier_results(alone: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("earlier\n")
    flags = ["--data", "mnist", "--data-dir", str(tmp_path / "none"), "--output-dir", str(tmp_path)]
    run = _train(["train.py", *flags], alone, tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("error: There is no folder")
    assert run.stderr.count("\n") == 1
    assert (tmp_path / "metrics.jsonl").read_text() == "earlier\n"


def test_a_loss_that_is_no_number_ends_the_run_with_valid_json(alone: Path, tmp_path: Path) -> None:
    flags = ["--lr", "1e9", "--epochs", "5", "--wandb", "off", "--output-dir", str(tmp_path / "out")]
    run = _train(["train.py", *flags], alone, tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("error: The loss is not a number any more in epoch 1; try a smaller --lr")
    assert _metrics(tmp_path / "out")[-1]["train_loss"] is None
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_a_wandb_server_out_of_reach_does_not_cost_the_run(alone: Path, tmp_path: Path) -> None:
    env = {"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_INIT_TIMEOUT": "2"}
    run = _train(["train.py", "--epochs", "1", "--output-dir", str(tmp_path / "out")], alone, tmp_path, **env)
    assert run.returncode == 0, run.stderr
    assert "going on offline." in run.stdout
    assert "k" * 40 not in run.stdout + run.stderr
    assert len(list((tmp_path / "out" / "wandb").glob("offline-run-*"))) == 1
    assert len(_metrics(tmp_path / "out")) == 1
