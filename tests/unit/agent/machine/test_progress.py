"""Progress is read only where the log is certain about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.machine.progress import TAIL_BYTES, parse_progress

SAMPLES = Path(__file__).parents[3] / "data" / "progress"


def recorded(name: str) -> bytes:
    """Return a recorded log; in .esc files control bytes are written as two characters."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    if ".esc." in name:
        for word, byte in (("\\r", "\r"), ("\\e", "\x1b"), ("\\b", "\b"), ("\\0", "\0")):
            text = text.replace(word, byte)
    return text.encode()


def brief(tail: bytes) -> Any:
    """Return (text, fraction in percent, eta in seconds) or None."""
    found = parse_progress(tail)
    return found and (found["text"], round(found["fraction"] * 100), found["eta_s"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tqdm.esc.txt", ("epoch 2/2", 100, 0)),
        ("tqdm-glued.txt", ("step 2182/2560", 85, 7)),
        ("hf-trainer-v5.esc.txt", ("step 24/24", 100, 0)),
        ("keras2.txt", ("epoch 2/100", 1, None)),
        ("keras3.esc.txt", ("epoch 1/2", 50, None)),
        ("keras3-verbose2.txt", ("epoch 2/2", 100, None)),
        ("ultralytics-tqdm.txt", ("epoch 1/300", 0, 60697)),
        ("ultralytics-new-bar.txt", ("epoch 13/50", 24, None)),
        ("chexzero.esc.txt", None),
        ("deepspeed.txt", None),
        ("fairseq.txt", None),
        ("hf-trainer-v4.txt", None),
        ("lightning-rich.txt", None),
        ("lightning-tqdm.esc.txt", None),
        ("mnist.txt", None),
        ("nanogpt.txt", None),
        ("timm.txt", None),
    ],
)
def test_recorded_logs(name: str, expected: object) -> None:
    assert brief(recorded(name)) == expected


def test_other_frameworks_line_by_line() -> None:
    found = [brief(line) for line in recorded("other-frameworks.lines.txt").splitlines()]
    assert [one for one in found if one] == [("step 50/242204", 0, None), ("step 10/292968", 0, None)]


def test_each_bar_of_the_variants() -> None:
    counted, download, epochs, mixed = (part for part in recorded("tqdm-variants.esc.txt").split(b"\n") if part)
    assert brief(counted) is None, "no total"
    assert brief(download) is None, "bytes per second"
    assert brief(epochs) == ("epoch 3/3", 100, 0)
    first, _, last = mixed.rpartition(b"\r")
    assert brief(first) == ("epoch 1/2", 5, 2)
    assert brief(last) == ("step 1250/4904", 25, 13369)


BAR = "\r{label}{percent:3d}%|####  | {done}/{total} [00:10<00:20, 1.00it/s]"


def bar(done: int, total: int, label: str = "") -> str:
    return BAR.format(label=label and label + ": ", percent=100 * done // total, done=done, total=total)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("epoch 3/10", ("epoch 3/10", 20, None)),
        ("Epoch 3 of 10\n", ("epoch 3/10", 20, None)),
        ("Epoch [3/10], Step [50/100], Loss: 0.3", ("epoch 3/10", 25, None)),
        ("Epoch: [3/10] loss=0.31 acc: 95.2%", ("epoch 3/10", 30, None)),
        ("Epoch 3/10 | batch 50/100 | loss 0.3", ("epoch 3/10", 25, None)),
        ("Epoch 10/10: train loss 0.2, test accuracy 0.98", ("epoch 10/10", 100, None)),
        ("Epoch 0/24\n----------\ntrain Loss: 0.3 Acc: 0.9", ("epoch 0/24", 0, None)),
        ("Epoch 3/10\n" + bar(5, 10), ("epoch 3/10", 25, 230)),
        ("Epoch 3/10: loss 0.3\n" + bar(5, 10), ("epoch 3/10", 35, 200)),
        (bar(5, 10, "Training Epoch 3/10"), ("epoch 3/10", 25, 230)),
        (bar(10, 10, "Train Epoch 3/10") + "\n" + bar(5, 20, "Val Epoch 3/10"), ("epoch 3/10", 30, 230)),
        ("Epoch 3/10\n" + bar(10, 10) + "\n" + bar(1, 4, "Validation"), ("epoch 3/10", 30, 230)),
        (bar(5, 20, "Val Epoch 3/10"), ("epoch 3/10", 20, None)),
        (bar(50, 100) + "\nEpoch 5/10: loss 0.3\n" + bar(55, 100), ("epoch 5/10", 55, 20)),
        (bar(50, 50) + "\nEpoch 5/10: loss 0.3\n" + bar(5, 50), ("epoch 5/10", 51, 140)),
        (bar(1, 3, "epoch") + "\n" + bar(5, 10), ("epoch 1/3", 33, 20)),
        (bar(1, 3) + "\n" + bar(0, 9) + bar(9, 9) + "\n" + bar(2, 3), ("step 2/3", 67, 20)),
        (bar(7, 10, "Training"), ("step 7/10", 70, 20)),
        ("epoch 3/10\nbest epoch: 2 of 10", ("epoch 3/10", 20, None)),
        ("epoch 3/10\x1b[0m\x1b[32m\0", ("epoch 3/10", 20, None)),
        ("", None),
        ("Epoch 12/10", None),
        ("Epoch 3/0", None),
        ("epoch 2024/11/03", None),
        ("epoch 3/10.5", None),
        ("epoch 3/10:30", None),
        ("Train Epoch: 3 [640/60000 (1%)]", None),
        ("resumed from epoch 3/10", None),
        ("saved model of epoch 3/10", None),
        ("saved /epochs/3/10", None),
        (bar(5, 10, "Epoch 3"), None),
        (bar(5, 10, "reading"), None),
        (bar(5, 10, "Validation"), None),
        (bar(5, 10, "Train/val split"), None),
        (bar(10, 10) + "\nmodel built\n", None),
        (bar(10, 10) + bar(3, 10), None),
        (bar(5, 10) + "\nother line" * 60, None),
        ("files: 50%|###  | 5.0M/10.0M [00:10<00:20, 1.00MB/s]", None),
        ("50%|###  | 5/10 [00:10<00:20, 1.00MB/s]", None),
        ("tests 3/10 passed", None),
        ("2/10", None),
    ],
)
def test_spellings(log: str, expected: object) -> None:
    assert brief(log.encode()) == expected


def test_a_full_tail_is_not_trusted_at_its_beginning() -> None:
    line = b"epoch 3/10 (the line may have said 13/10 before it was cut)\n"
    assert brief(line) is not None
    assert brief(line + b"x" * (TAIL_BYTES - len(line))) is None
    assert brief(b"x" * TAIL_BYTES + b"\n" + line) == ("epoch 3/10", 20, None)


WORDS = st.sampled_from(
    [
        "epoch ",
        "Epoch ",
        "3/10",
        "0/0",
        "9/3",
        " of ",
        "[",
        "]",
        "loss ",
        "\r",
        "\n",
        "\b",
        "\x1b[K",
        "|",
        "%",
        "12",
        "/",
        ": ",
        bar(1, 4),
        bar(4, 4, "train"),
        bar(2, 9, "val"),
        "1/60 2.1G ",
        "━━ 8/8 7.2s/it",
        "²",
        "٣/٤",
        " • ",
        "iteration 5/ 9 |",
    ]
)
LOGS = st.one_of(st.binary(max_size=400), st.lists(WORDS, max_size=30).map("".join).map(lambda text: text.encode()))


@given(LOGS)
def test_never_raises_and_never_leaves_its_range(tail: bytes) -> None:
    found = parse_progress(tail)
    if found is None:
        return
    assert set(found) == {"done", "total", "unit", "fraction", "eta_s", "text"}
    assert 0.0 <= found["fraction"] <= 1.0
    assert 0 <= found["done"] <= found["total"]
    assert found["unit"] in ("epoch", "step")
    assert found["eta_s"] is None or found["eta_s"] >= 0
    assert found["text"] == "{unit} {done}/{total}".format(**found)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 100))
def test_the_numbers_are_those_of_the_log(number: int, total: int, done: int) -> None:
    found = parse_progress(f"Epoch {number}/{total}\n{bar(done, 100)}".encode())
    if number > total:
        assert found is None or found["unit"] == "step"
    else:
        assert found is not None
        assert found["fraction"] == pytest.approx((number - 1 + done / 100) / total)
