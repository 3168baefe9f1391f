"""What nvidia-smi says about the GPUs. The only place that knows the tool; other vendors would get a file beside it.

The wordings and exit codes handled here were seen on real hosts; tests/data/nvidia_smi holds them.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from remote_payload.agent.machine.text import neutralise, one_line
from remote_payload.agent.machine.tool import Ran, own_env, run_tool
from remote_payload.agent.wire.messages import GpuTable, GpuView

FIELDS = (
    "index",
    "uuid",
    "name",
    "memory.total",
    "memory.used",
    "utilization.gpu",
    "temperature.gpu",
    "power.draw",
    "driver_version",
)
"""What is asked of `--query-gpu`. The first three are needed; a driver that refuses another one is asked without it."""

IDLE_MEMORY_MIB = 500
IDLE_UTILIZATION_PCT = 5
DEFAULT_TIMEOUT = 10.0

USUAL_PLACES = (
    "/usr/bin/nvidia-smi",
    "/usr/local/bin/nvidia-smi",
    "/usr/local/nvidia/bin/nvidia-smi",
    "/usr/lib/wsl/lib/nvidia-smi",
    "/opt/bin/nvidia-smi",
)
"""Where it lies when the PATH of a non-interactive login does not name the folder."""

_NEEDED = frozenset(FIELDS[:3])
_PLACEHOLDER = re.compile(r"\[.*\]|N/A|ERR!|Not Supported|Unknown Error", re.IGNORECASE)
_INDEX = re.compile(r"[0-9]{1,4}")
_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(?: ?(?:MiB|%|W|C))?")
_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BAD_FIELD = re.compile(r'Field "([^"\n]{1,100})" is not a valid field')
_HANDLE = re.compile(r"Unable to determine the device handle for gpu\s*(.*)", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d{1,3}):\s+[0-9A-Fa-f]+:[0-9A-Fa-f]+:")
_CUDA = re.compile(r"CUDA (?:UMD )?Version:\s*(\d+(?:\.\d+)*)")
_LISTED = re.compile(r"GPU (\d{1,4}):.*\(UUID:\s*([^)]+)\)")
_MIG = re.compile(r"\s+MIG\s.*\(UUID:\s*MIG-")

_REBOOT = "the GPU is lost until the host reboots"
_DRIVER = "the NVIDIA driver does not answer; reinstall or reload it, or reboot the host"
_SENTENCES: Tuple[Tuple[str, str, str], ...] = (
    ("no devices were found", "no_device", "the NVIDIA driver is there but no GPU is attached"),
    ("nvidia-smi has failed", "driver_broken", _DRIVER),
    (
        "driver/library version mismatch",
        "driver_broken",
        "the NVIDIA driver was upgraded while its kernel module still runs; reboot the host",
    ),
    ("unable to determine the device handle", "driver_broken", _REBOOT),
    (
        "failed to initialize nvml: unknown error",
        "driver_broken",
        "the container lost its GPU devices; restart it (running jobs go on, new ones would fail)",
    ),
    ("failed to initialize nvml", "driver_broken", _DRIVER),
)
"""Texts that say why there are no rows (they come on stdout), what that means, and the sentence for people."""

_CODES: Dict[int, Tuple[str, str]] = {
    4: ("driver_broken", "this user may not ask the NVIDIA driver; check the permissions of /dev/nvidia*"),
    6: ("no_device", "the NVIDIA driver is there but no GPU is attached"),
    9: ("driver_broken", _DRIVER),
    12: ("driver_broken", "the NVIDIA library (libnvidia-ml) cannot be found; install the driver's libraries"),
    15: ("driver_broken", _REBOOT),
    18: ("driver_broken", "the NVIDIA driver was upgraded while its kernel module still runs; reboot the host"),
    126: ("no_tool", "nvidia-smi is there but cannot be run"),
    127: ("no_tool", "no NVIDIA tools on this host"),
}
"""What the exit code means where the text is not known."""


class QueryAnswer(NamedTuple):
    """One reading of `nvidia-smi --query-gpu`. refused: the field the driver does not know, if that is the trouble."""

    table: GpuTable
    refused: Optional[str]


def find_nvidia_smi(path: Optional[str] = None) -> Optional[str]:
    """Return the absolute path of nvidia-smi, or None.

    Args:
        path: a PATH to search; None = the agent's own. The usual places are looked at after it.
    """
    found = shutil.which("nvidia-smi", path=path)
    if found:
        return os.path.abspath(found)
    return next((place for place in USUAL_PLACES if os.access(place, os.X_OK) and os.path.isfile(place)), None)


def read_gpus(tool: Optional[str] = None, path: Optional[str] = None, timeout: float = DEFAULT_TIMEOUT) -> GpuTable:
    """Ask nvidia-smi for the state of every GPU. Never raises; a table without GPUs says why.

    Args:
        tool: nvidia-smi's path; None = find it.
        path: a PATH to find it in; None = the agent's own.
        timeout: seconds for each call (one is the rule; two or more when a field is refused or MIG is suspected).

    Returns:
        The table, without the CUDA version (see `read_cuda`) and with `leased_to` None everywhere.
    """
    program = tool or find_nvidia_smi(path)
    if program is None:
        return _nothing("no_tool", "no NVIDIA tools on this host" + _other_hardware())
    fields = list(FIELDS)
    while True:
        ran = ask(program, path, timeout, "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits")
        if ran.timed_out:
            return _nothing("timeout", "nvidia-smi did not answer within {:g} s; the driver may hang".format(timeout))
        if ran.exit_code is None:
            return _nothing("no_tool", "nvidia-smi cannot be run: " + one_line(ran.stderr))
        answer = parse_query(_text(ran), ran.exit_code, fields)
        if answer.refused not in fields or answer.refused in _NEEDED:
            break
        fields.remove(answer.refused)
    if any(_hides_its_use(gpu) for gpu in answer.table["gpus"]):
        _mark_mig(answer.table, _text(ask(program, path, timeout, "-L")))
    return answer.table


def read_cuda(
    tool: Optional[str] = None, path: Optional[str] = None, timeout: float = DEFAULT_TIMEOUT
) -> Optional[str]:
    """Return the CUDA version the driver supports ("12.4"), from the header of the plain table, or None."""
    program = tool or find_nvidia_smi(path)
    return parse_cuda(_text(ask(program, path, timeout))) if program else None


def idle(gpu: GpuView) -> Optional[bool]:
    """Tell whether nobody uses a GPU: at most 500 MiB and under 5 %.

    Returns:
        None when its memory use is not known (vGPU, unified memory) and nothing says that it is busy: then only leases
        can tell. An unknown utilisation beside a known memory use (older cards) does not count: memory is the truth.
    """
    if not gpu["usable"]:
        return False
    used, busy = gpu["memory_used_mib"], gpu["utilization_pct"]
    if busy is not None and busy >= IDLE_UTILIZATION_PCT:
        return False
    return None if used is None else used <= IDLE_MEMORY_MIB


def parse_query(stdout: str, exit_code: int, fields: Sequence[str] = FIELDS) -> QueryAnswer:
    """Read one csv answer. Pure.

    Args:
        stdout: what nvidia-smi printed; error texts stand there too, between the rows or instead of them.
        exit_code: its exit status. Rows count whatever it is: 14 and 15 come with good rows of the other GPUs.
        fields: the fields that were asked for, in order.
    """
    refused = _BAD_FIELD.search(stdout)
    gpus: List[GpuView] = []
    sentences: List[str] = []
    for line in stdout.splitlines():
        gpu = _row(line, fields)
        if gpu is not None:
            gpus.append(gpu)
        elif line.strip():
            sentences.append(line.strip())
    lost = [match.group(1) for match in map(_HANDLE.match, sentences) if match]
    _add_lost(gpus, lost)
    gpus.sort(key=lambda gpu: gpu["index"])
    if any(gpu["uuid"] for gpu in gpus):
        message = (
            "{} GPU{} lost until the host reboots".format(len(lost), "" if len(lost) == 1 else "s") if lost else ""
        )
        return QueryAnswer(GpuTable(state="ok", message=message, gpus=gpus, cuda=None), None)
    state, message = _why_none(stdout, exit_code)
    return QueryAnswer(
        GpuTable(state=state, message=message, gpus=gpus, cuda=None), refused.group(1) if refused else None
    )


def parse_cuda(stdout: str) -> Optional[str]:
    """Return the CUDA version from the plain table's header; its label changed with driver 610. Pure."""
    found = _CUDA.search(stdout)
    return found.group(1) if found else None


def parse_mig_parents(stdout: str) -> List[int]:
    """Return the indices of the GPUs that `nvidia-smi -L` shows MIG devices under. Pure."""
    parents: List[int] = []
    index = -1
    for line in stdout.splitlines():
        gpu = _LISTED.match(line)
        if gpu:
            index = int(gpu.group(1))
        elif index >= 0 and _MIG.match(line) and index not in parents:
            parents.append(index)
    return parents


def ask(program: str, path: Optional[str], timeout: float, *arguments: str) -> Ran:
    """Run nvidia-smi with some arguments, killed after timeout seconds."""
    # The searched PATH may be bare, and some hosts wrap nvidia-smi in a script: keep the agent's own behind it.
    whole = os.pathsep.join(part for part in (path, os.environ.get("PATH") or os.defpath) if part)
    return run_tool([program, *arguments], timeout, env=own_env(whole))


def _text(ran: Ran) -> str:
    # Errors were seen on stdout; one tool version puts the device handle's on stderr, so both are read.
    return neutralise(ran.stdout + b"\n" + ran.stderr)


def _nothing(state: str, message: str) -> GpuTable:
    return GpuTable(state=state, message=message, gpus=[], cuda=None)


def _row(line: str, fields: Sequence[str]) -> Optional[GpuView]:
    cells = [cell.strip() for cell in line.split(",")]
    extra = len(cells) - len(fields)
    if extra > 0 and "name" in fields:
        at = list(fields).index("name")
        cells[at : at + extra + 1] = [", ".join(cells[at : at + extra + 1])]
    if len(cells) != len(fields) or not _INDEX.fullmatch(cells[0]):
        return None
    by_name = {field: cells[at] for at, field in enumerate(fields)}
    index = int(by_name["index"])
    note = _trouble(cells)
    uuid = by_name.get("uuid", "")
    return GpuView(
        index=index,
        # The uuid names a lock file, so it must be a plain word; a card without one is told apart by its index.
        uuid=uuid if _UUID.fullmatch(uuid) else "index-{}".format(index),
        name=one_line(by_name.get("name", "").encode("utf-8", "replace"), 80),
        memory_total_mib=_whole(by_name.get("memory.total")),
        memory_used_mib=_whole(by_name.get("memory.used")),
        utilization_pct=_whole(by_name.get("utilization.gpu")),
        temperature_c=_whole(by_name.get("temperature.gpu")),
        power_w=_value(by_name.get("power.draw")),
        driver=by_name.get("driver_version") if _value_known(by_name.get("driver_version")) else None,
        leased_to=None,
        usable=not note,
        note=note,
    )


def _trouble(cells: Sequence[str]) -> str:
    text = " ".join(cell for cell in cells if cell.startswith("[")).lower()
    if "requires reset" in text:
        return "it must be reset before it can be used (nvidia-smi --gpu-reset, or a reboot)"
    return _REBOOT if "gpu is lost" in text else ""


def _value_known(cell: Optional[str]) -> bool:
    return bool(cell) and not _PLACEHOLDER.fullmatch(cell or "")


def _value(cell: Optional[str]) -> Optional[float]:
    match = _NUMBER.fullmatch(cell or "")
    return float(match.group(1)) if match else None


def _whole(cell: Optional[str]) -> Optional[int]:
    value = _value(cell)
    return None if value is None else int(value)


def _add_lost(gpus: List[GpuView], lost: Sequence[str]) -> None:
    """Put in the GPUs that have a sentence instead of a row: by its number, else into the gaps of the indices."""
    taken = {gpu["index"] for gpu in gpus}
    unnumbered = 0
    for words in lost:
        number = _NUMBERED.match(words)
        if number is None:
            unnumbered += 1
        elif int(number.group(1)) not in taken:
            taken.add(int(number.group(1)))
            gpus.append(_lost_view(int(number.group(1))))
    gaps = [index for index in range(max(taken, default=-1)) if index not in taken]
    if unnumbered and len(gaps) == unnumbered:
        gpus.extend(_lost_view(index) for index in gaps)


def _lost_view(index: int) -> GpuView:
    return GpuView(
        index=index,
        uuid="",
        name="",
        memory_total_mib=None,
        memory_used_mib=None,
        utilization_pct=None,
        temperature_c=None,
        power_w=None,
        driver=None,
        leased_to=None,
        usable=False,
        note=_REBOOT,
    )


def _why_none(stdout: str, exit_code: int) -> Tuple[str, str]:
    said = " ".join(stdout.split())
    for words, state, sentence in _SENTENCES:
        if words in said.lower():
            return state, sentence
    if exit_code in _CODES:
        return _CODES[exit_code]
    if exit_code == 0 and not said:
        return "no_device", "nvidia-smi lists no GPU"
    told = one_line(said.encode("utf-8", "replace"))
    return "driver_broken", "nvidia-smi ended with exit code {}: {}".format(exit_code, told or "it said nothing")


def _hides_its_use(gpu: GpuView) -> bool:
    return gpu["usable"] and gpu["utilization_pct"] is None


def _mark_mig(table: GpuTable, listing: str) -> None:
    parents = parse_mig_parents(listing)
    for gpu in table["gpus"]:
        if gpu["index"] in parents and gpu["usable"]:
            gpu["usable"] = False
            gpu["note"] = "it is split by MIG and cannot be leased as a whole"


def _other_hardware() -> str:
    """Say what else is there, so that a missing tool is not taken for a missing card."""
    if glob.glob("/proc/driver/nvidia/gpus/*") or glob.glob("/dev/nvidia[0-9]*"):
        return ", although an NVIDIA card is there: install nvidia-smi (nvidia-utils)"
    for pattern, vendor in (("/dev/davinci[0-9]*", "Ascend"), ("/dev/mtgpu*", "Moore Threads"), ("/dev/kfd", "AMD")):
        if glob.glob(pattern):
            return "; the {} devices here are not leased by orch".format(vendor)
    return ""
