"""nvidia-smi's answers as seen on real hosts, and a stand-in for the program that prints them."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_payload.agent.machine import gpu
from remote_payload.agent.machine.gpu import FIELDS, find_nvidia_smi, idle, parse_cuda, parse_query
from remote_payload.agent.wire.messages import GpuView

SAMPLES = Path(__file__).parents[3] / "data" / "nvidia_smi"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def cases(name: str) -> list[str]:
    return sample(name).splitlines()


def rows(text: str, exit_code: int = 0) -> list[GpuView]:
    answer = parse_query(text, exit_code)
    assert answer.table["state"] == "ok"
    return answer.table["gpus"]


class StandIn:
    """A program called nvidia-smi that prints what a test tells it to, and notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tool = folder / "nvidia-smi"
        self.calls = folder / "calls"
        folder.mkdir()

    def says(self, query: str, code: int = 0, *, listing: str = "", table: str = "") -> str:
        for name, text in (("query", query), ("list", listing), ("table", table)):
            (self.folder / name).write_text(text, encoding="utf-8")
        here = shlex.quote(str(self.folder))
        return self.runs(
            f'case "$1" in\n-L) cat {here}/list; exit 0;;\n'
            f'--query-gpu=*) cat {here}/query; exit {code};;\n"") cat {here}/table; exit 0;;\nesac'
        )

    def runs(self, body: str) -> str:
        self.tool.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(self.calls))}\n{body}\n')
        self.tool.chmod(0o755)
        return str(self.tool)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "bin of it")


def test_one_consumer_card() -> None:
    assert rows(sample("query-consumer-1gpu.txt")) == [
        {
            "index": 0,
            "uuid": "GPU-1b7c0d52-6f0e-4a43-9d55-0c2b7e81a900",
            "name": "NVIDIA GeForce RTX 4090",
            "memory_total_mib": 24564,
            "memory_used_mib": 1,
            "utilization_pct": 0,
            "temperature_c": 31,
            "power_w": 15.42,
            "driver": "550.54.14",
            "leased_to": None,
            "usable": True,
            "note": "",
        }
    ]


def test_a_server_tells_busy_from_free() -> None:
    assert [one["index"] for one in rows(sample("query-server-8gpu.txt")) if idle(one)] == [4, 5, 7]


@pytest.mark.parametrize("placeholder", cases("placeholders.lines.txt"))
def test_a_placeholder_is_unknown_and_never_zero(placeholder: str) -> None:
    (one,) = rows(f"0, GPU-1b7c, NVIDIA X, {', '.join([placeholder] * 6)}")
    numbers = ("memory_total_mib", "memory_used_mib", "utilization_pct", "temperature_c", "power_w", "driver")
    assert [one[name] for name in numbers] == [None] * 6  # type: ignore[literal-required]
    assert one["usable"] is (placeholder not in ("[GPU requires reset]", "[GPU is lost]"))
    assert idle(one) is (None if one["usable"] else False)


def test_zero_memory_beside_requires_reset_is_not_free() -> None:
    broken, busy = rows(sample("query-requires-reset.txt"))
    assert broken["memory_used_mib"] == 0
    assert not broken["usable"]
    assert "reset" in broken["note"]
    assert idle(broken) is False
    assert busy["usable"]


def test_memory_is_what_is_reported_whatever_the_name_says() -> None:
    found = [rows(line)[0] for line in cases("query-vgpu.lines.txt") + cases("query-odd-memory.lines.txt")]
    assert [one["memory_total_mib"] for one in found] == [8192, 24564, 24564, 49140, 32760, 49140, 20480, None]
    assert [idle(one) for one in found] == [True, False, True, True, True, True, False, None]
    assert found[0]["temperature_c"] is None


def test_a_lost_gpu_stands_beside_a_good_one() -> None:
    fields = ("index", "name", "limit", "default", "max", "power.draw", "driver_version")
    table = parse_query(sample("query-one-gpu-lost.txt"), 15, fields).table
    assert table["state"] == "ok"
    assert "1 GPU lost" in table["message"]
    lost, good = table["gpus"]
    assert (lost["index"], lost["usable"], idle(lost)) == (0, False, False)
    assert (good["index"], good["usable"], good["power_w"]) == (1, True, 34.61)


@pytest.mark.parametrize("sentence", cases("fail-device-handle.lines.txt"))
def test_a_lost_gpu_without_number_takes_the_gap(sentence: str) -> None:
    others = sample("query-server-8gpu.txt").splitlines()
    text = "\n".join([sentence.replace("GPU0:", "GPU3:"), *others[:3], *others[4:]])
    found = rows(text, 15)
    assert [one["index"] for one in found] == list(range(8))
    assert [one["index"] for one in found if not one["usable"]] == [3]


def test_a_lost_gpu_alone_is_a_broken_driver() -> None:
    for line in cases("fail-device-handle.lines.txt"):
        table = parse_query(line, 15).table
        assert table["state"] == "driver_broken"
        assert "reboot" in table["message"]


@pytest.mark.parametrize(
    ("name", "code", "state", "word"),
    [
        ("fail-no-devices.txt", 6, "no_device", "no GPU"),
        ("fail-no-driver.txt", 9, "driver_broken", "driver"),
        ("fail-version-mismatch.txt", 18, "driver_broken", "reboot"),
        ("fail-unknown-error.txt", 255, "driver_broken", "container"),
    ],
)
def test_why_there_are_no_rows(name: str, code: int, state: str, word: str) -> None:
    for text, exit_code in ((sample(name), code), (sample(name), 1), ("", code if code != 255 else 9)):
        table = parse_query(text, exit_code).table
        assert table["gpus"] == []
        assert table["state"] == state
        assert text == "" or word in table["message"]


def test_the_code_speaks_where_the_words_are_foreign() -> None:
    assert parse_query("Befehl nicht gefunden", 127).table["state"] == "no_tool"
    assert parse_query("", 12).table["message"].startswith("the NVIDIA library")
    assert parse_query("", 0).table["state"] == "no_device"
    strange = parse_query("\x1b[31msomething\x1b[0m\nnew", 77).table
    assert (strange["state"], strange["message"]) == (
        "driver_broken",
        "nvidia-smi ended with exit code 77: \x1b[31msomething\x1b[0m new".replace("\x1b[31m", "").replace(
            "\x1b[0m", ""
        ),
    )


def test_a_refused_field_is_named() -> None:
    assert parse_query(sample("invalid-field.txt"), 2).refused == "cuda_version"


def test_cuda_version_by_driver_generation() -> None:
    found = [parse_cuda(line) for line in cases("table-header.lines.txt")]
    assert found == [None, None, "10.2", None, "11.7", "12.2", None, "12.8", "13.0", "13.3", "13.4", "13.4"]


def test_mig_parents_in_both_spellings() -> None:
    assert gpu.parse_mig_parents(sample("list-mig.txt")) == [0]
    assert gpu.parse_mig_parents(sample("list-mig-old-uuid.txt")) == [0]
    assert gpu.parse_mig_parents(sample("list-normal.txt")) == []


def test_a_uuid_that_is_no_plain_word_never_names_a_file() -> None:
    for uuid in ("../../etc/passwd", "[N/A]", "", "a b", "x" * 200):
        assert rows(f"2, {uuid}, NVIDIA X, 1, 1, 1, 1, 1, 1")[0]["uuid"] == "index-2"


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([", ", "0", "GPU-1", "[N/A]", "²", "\n", "9" * 400]), max_size=40).map("".join),
    )
)
def test_no_answer_breaks_the_reader(text: str) -> None:
    table = parse_query(text, 0).table
    assert table["state"] in ("ok", "no_device", "driver_broken")
    gpu.parse_mig_parents(text)
    parse_cuda(text)


def test_read_asks_once_and_fills_the_table(stand_in: StandIn) -> None:
    tool = stand_in.says(sample("query-server-8gpu.txt"))
    table = gpu.read_gpus(tool)
    assert table["state"] == "ok"
    assert len(table["gpus"]) == 8
    assert stand_in.called() == [f"--query-gpu={','.join(FIELDS)} --format=csv,noheader,nounits"]


def test_read_cuda_asks_for_the_plain_table(stand_in: StandIn) -> None:
    assert gpu.read_cuda(stand_in.says("", table=sample("table-autodl.txt"))) == "12.4"


@pytest.mark.parametrize("name", ["query-mig-container.txt", "query-mig-host.txt"])
def test_a_split_gpu_is_not_leased_as_a_whole(stand_in: StandIn, name: str) -> None:
    table = gpu.read_gpus(stand_in.says(sample(name), listing=sample("list-mig.txt")))
    assert [one["usable"] for one in table["gpus"]] == [False, True][: len(table["gpus"])]
    assert "MIG" in table["gpus"][0]["note"]
    assert stand_in.called()[-1] == "-L"


def test_a_card_that_hides_its_use_without_mig_stays_usable(stand_in: StandIn) -> None:
    row = "0, GPU-1b7c, GeForce GTX 770, 2004, 12, [Not Supported], 44, [Not Supported], 470.10"
    (one,) = gpu.read_gpus(stand_in.says(row, listing=sample("list-normal.txt")))["gpus"]
    assert one["usable"]
    assert idle(one) is True


def test_a_refused_field_is_left_out_of_the_next_question(stand_in: StandIn) -> None:
    tool = stand_in.runs(
        'case "$1" in\n'
        "*power.draw*) printf 'Field \"power.draw\" is not a valid field to query.\\n\\n'; exit 2;;\n"
        "*temperature.gpu*) printf 'Field \"temperature.gpu\" is not a valid field to query.\\n\\n'; exit 2;;\n"
        "*) echo '0, GPU-1b7c, Tesla K80, 11441, 0, 0, 418.67';;\nesac"
    )
    (one,) = gpu.read_gpus(tool)["gpus"]
    assert (one["memory_total_mib"], one["power_w"], one["temperature_c"], one["driver"]) == (
        11441,
        None,
        None,
        "418.67",
    )
    assert len(stand_in.called()) == 3


def test_a_field_that_is_refused_without_being_asked_ends_the_asking(stand_in: StandIn) -> None:
    table = gpu.read_gpus(stand_in.says(sample("invalid-field.txt"), 2))
    assert table["state"] == "driver_broken"
    assert len(stand_in.called()) == 1
    tool = stand_in.runs("echo 'Field \"uuid\" is not a valid field to query.'; exit 2")
    assert gpu.read_gpus(tool)["state"] == "driver_broken"


def test_error_text_on_stderr_is_read_too(stand_in: StandIn) -> None:
    tool = stand_in.runs("cat >&2 <<'X'\n" + cases("fail-device-handle.lines.txt")[0] + "\nX\nexit 6")
    assert gpu.read_gpus(tool)["state"] == "driver_broken"


def test_a_hanging_tool_is_killed_with_its_children(stand_in: StandIn, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    here = shlex.quote(str(pids))
    tool = stand_in.runs(f"trap '' TERM INT HUP\nsleep 300 & echo $! >> {here}\necho $$ >> {here}\nsleep 300")
    begun = time.monotonic()
    table = gpu.read_gpus(tool, timeout=1)
    assert table["state"] == "timeout"
    assert "1 s" in table["message"]
    assert time.monotonic() - begun < 10
    left = [int(line) for line in pids.read_text().split()]
    assert len(left) == 2
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in left):
        assert time.monotonic() < deadline, f"still there: {left}"


def _runs(pid: int) -> bool:
    """Tell whether a process lives; a zombie that its new parent has not reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_a_tool_that_cannot_be_started(tmp_path: Path) -> None:
    assert gpu.read_gpus(str(tmp_path / "none"))["state"] == "no_tool"
    plain = tmp_path / "nvidia-smi"
    plain.write_text("not a program")
    assert gpu.read_gpus(str(plain))["state"] == "no_tool"


def test_finding_the_tool(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = stand_in.says("")
    elsewhere = str(tmp_path)
    monkeypatch.setattr(gpu, "USUAL_PLACES", ())
    assert find_nvidia_smi(elsewhere) is None
    assert gpu.read_gpus(path=elsewhere)["state"] == "no_tool"
    assert gpu.read_cuda(path=elsewhere) is None
    assert find_nvidia_smi(os.pathsep.join([elsewhere, str(stand_in.folder)])) == tool
    monkeypatch.setattr(gpu, "USUAL_PLACES", (tool,))
    assert find_nvidia_smi(elsewhere) == tool
