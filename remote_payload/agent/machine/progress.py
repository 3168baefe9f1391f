"""How far a job is, read from the end of its log. Pure.

Only what is certain counts: a wrong number is worse than none. Recognised are "epoch 3/10" in its usual spellings,
alone or with tqdm's, Keras's or Ultralytics' bar of the steps inside the epoch; a tqdm bar over the whole run;
Megatron's "iteration N/ M". Bars of downloads, of reading data and of validation are not the job's progress, and
neither is a bar that begins again and again with no epoch beside it.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from remote_payload.agent.machine.text import neutralise

TAIL_BYTES = 8192
"""How much of a log's end is worth reading. A tail of this size may begin in mid-line, so its first line is cut off."""

_STALE_LINES = 40
"""A bar followed by so many other lines is not being drawn any more."""

_COUNT = r"(\d{1,9})"
_BAR = re.compile(
    r"^(?P<label>[^|]*?)(?:\d{1,3}%)?\|[^|]*\|\s*"
    r"(?P<done>\d{1,12})/(?P<total>\d{1,12}) \[(?P<spent>[\d:]+)<(?P<left>[\d:?]+)(?:,\s*(?P<rate>[^,\]]*))?"
)
_EPOCH = re.compile(
    r"\bepochs?\b[\s:=#]*[\[(]?\s*" + _COUNT + r"\s*(?:/|of)\s*" + _COUNT + r"(?!\d|[.:/]\d)", re.IGNORECASE
)
_YOLO = re.compile(r"^\s*" + _COUNT + "/" + _COUNT + r"\s+\d+(?:\.\d+)?G\s")
_YOLO_STEPS = re.compile(r"━\S*\s+" + _COUNT + "/" + _COUNT + r"\s+\d[\d.]*(?:s/it|it/s)")
_KERAS = re.compile(r"^\s*" + _COUNT + "/" + _COUNT + r" (?:\[[=>.]+\]|━+|- \d+m?s\b)")
_MEGATRON = re.compile(r"\biteration\s+" + _COUNT + r"/\s*" + _COUNT + r" \|")
_STEPS = re.compile(
    r"\b(?:step|batch|iter(?:ation)?)s?\b[\s:=#]*[\[(]?\s*" + _COUNT + r"\s*(?:/|of)\s*" + _COUNT, re.IGNORECASE
)
_INSIDE = re.compile(r"\b(?:step|batch|iter(?:ation)?)s?\b|\d\s*/\s*\d", re.IGNORECASE)
_METRIC = re.compile(r"\b(?:\w+_)?(?:loss|acc(?:uracy)?|error|auc|f1|mse|time|elapsed)\b", re.IGNORECASE)
_OTHER_PHASE = re.compile(
    r"\b(?:val(?:id(?:ation|ating)?)?|test(?:ing)?|eval(?:uat(?:ion|ing|e))?|sanity|predict\w*|infer\w*)\b",
    re.IGNORECASE,
)
_TRAIN_LABEL = re.compile(
    r"^\W*(?:train(?:ing)?|epochs?|steps?|iter(?:ation)?s?|batch(?:es)?|progress|total|overall)\b", re.IGNORECASE
)
_NOT_NOW = re.compile(r"\b(?:best|sav\w+|load\w*|resum\w*|restor\w*|from|until|stopp\w*)\b", re.IGNORECASE)
_BYTES = re.compile(r"B/s\b")


class _Epoch(NamedTuple):
    """An epoch k of n at a line; ended = the line reports on it, so it is over."""

    line: int
    number: int
    total: int
    ended: bool


class _Bar(NamedTuple):
    """A bar of steps at a line. spent and left are seconds, label is what stands before it."""

    line: int
    label: str
    done: int
    total: int
    spent: Optional[float]
    left: Optional[float]


def parse_progress(tail: bytes) -> Optional[Dict[str, Any]]:
    """Read a job's progress from the end of its log. Never raises.

    Args:
        tail: the last TAIL_BYTES of the log, or all of a shorter one (of a longer tail only the end is read).

    Returns:
        None where nothing is certain, else {done, total, unit, fraction, eta_s, text}: unit is "epoch" or "step", done
        and total are the numbers as the log shows them (an epoch's number may be that of the epoch being worked on),
        fraction is 0..1 of the whole, eta_s is seconds or None, text is "epoch 3/10" or "step 1250/4904".
    """
    lines = _lines(tail)
    epoch = _last_epoch(lines)
    bars = [bar for bar in (_bar(at, line) for at, line in enumerate(lines)) if bar is not None]
    if epoch is not None:
        whole = _across(epoch, bars)
        if whole is not None:
            return _answer("epoch", epoch.number, epoch.total, whole.done / whole.total, whole.left)
        return _of_epoch(epoch, _inside(epoch, bars, lines))
    last = len(lines) - 1
    for at in range(last, max(-1, last - _STALE_LINES), -1):
        megatron = _MEGATRON.search(lines[at])
        if megatron and _sensible(megatron.group(1), megatron.group(2)):
            return _answer("step", int(megatron.group(1)), int(megatron.group(2)), None, None)
    return _of_bars(bars, lines)


def _lines(tail: bytes) -> List[str]:
    """The states a terminal line went through, in order; each redraw counts as a line."""
    lines = re.split(r"[\r\n\b]+", neutralise(tail[-TAIL_BYTES:]))
    if len(tail) >= TAIL_BYTES:
        lines = lines[1:]
    return [line for line in lines if line.strip()]


def _sensible(number: str, total: str) -> bool:
    return int(total) > 0 and int(number) <= int(total)


def _last_epoch(lines: List[str]) -> Optional[_Epoch]:
    """The newest "epoch k/n"; one of a validation line only where no other is left, since it says less."""
    second_best: Optional[_Epoch] = None
    for at in range(len(lines) - 1, -1, -1):
        line = lines[at]
        found = _EPOCH.search(line) or _YOLO.match(line)
        if not found or not _sensible(found.group(1), found.group(2)) or _NOT_NOW.search(line[: found.start()]):
            continue
        if " • " in line:  # rich's bar counts from 0, and n is the last number, not how many
            return None
        rest = line[found.end() :]
        over = bool(_METRIC.search(rest)) and not _INSIDE.search(rest) and found.re is not _YOLO
        epoch = _Epoch(at, int(found.group(1)), int(found.group(2)), over)
        if not _OTHER_PHASE.search(line[: found.start()]):
            return epoch
        second_best = second_best or epoch._replace(ended=False)
    return second_best


def _bar(at: int, line: str) -> Optional[_Bar]:
    found = _BAR.match(line)
    if found is None or not _sensible(found["done"], found["total"]) or _BYTES.search(found["rate"] or ""):
        return None
    label = found["label"].strip().rstrip(":").strip()
    spent, left = _seconds(found["spent"]), _seconds(found["left"])
    return _Bar(at, label, int(found["done"]), int(found["total"]), spent, left)


def _seconds(clock: str) -> Optional[float]:
    parts = clock.split(":")
    if not 1 < len(parts) <= 3 or not all(part.isdecimal() for part in parts):
        return None
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return float(total)


def _across(epoch: _Epoch, bars: List[_Bar]) -> Optional[_Bar]:
    """The newest state of a bar that stood before the epoch's line and goes on after it: it is the whole run's."""
    for run in _runs(bars).values():
        if run[0].line < epoch.line < run[-1].line and _rises(run):
            return run[-1]
    return None


def _inside(epoch: _Epoch, bars: List[_Bar], lines: List[str]) -> Optional[_Bar]:
    """The newest state of the steps inside this epoch: on its own line, or in a bar after it."""
    if epoch.ended and epoch.number == epoch.total:
        return None
    for at in range(len(lines) - 1, epoch.line - 1, -1):
        line = lines[at]
        bar = next((one for one in bars if one.line == at), None)
        if bar is not None:
            own = at == epoch.line or not bar.label or _TRAIN_LABEL.match(bar.label)
            if own and not _OTHER_PHASE.search(bar.label):
                return bar
            continue
        found = _YOLO_STEPS.search(line) if at == epoch.line else _KERAS.match(line)
        if found is None and at == epoch.line:
            found = _STEPS.search(line)
        if found and _sensible(found.group(1), found.group(2)):
            return _Bar(at, "", int(found.group(1)), int(found.group(2)), None, None)
    return None


def _of_epoch(epoch: _Epoch, steps: Optional[_Bar]) -> Dict[str, Any]:
    begun = epoch.number if epoch.ended else max(0, epoch.number - 1)
    part = steps.done / steps.total if steps is not None else 0.0
    eta = None
    if steps is not None and steps.spent is not None and steps.left is not None:
        eta = steps.left + max(0, epoch.total - begun - 1) * (steps.spent + steps.left)
    return _answer("epoch", epoch.number, epoch.total, min(1.0, (begun + part) / epoch.total), eta)


def _of_bars(bars: List[_Bar], lines: List[str]) -> Optional[Dict[str, Any]]:
    """Choose the bar that spans the whole run; None when bars come and go and none does."""
    runs = _runs(bars)
    once = [run for run in runs.values() if _rises(run)]
    if len(once) != len(runs) and not any(_spans(run, bars) for run in once):
        return None
    open_ones = [run for run in once if run[-1].done < run[-1].total or _spans(run, bars)]
    chosen = open_ones[0] if open_ones else once[0] if len(once) == 1 else None
    if chosen is None:
        return None
    bar = chosen[-1]
    later = [line for line in lines[bar.line + 1 :] if _BAR.match(line) is None]
    if len(later) > (_STALE_LINES if bar.done < bar.total else 0):
        return None
    unit = "epoch" if re.match(r"\W*epochs?\b", bar.label, re.IGNORECASE) else "step"
    return _answer(unit, bar.done, bar.total, None, bar.left)


def _runs(bars: List[_Bar]) -> Dict[Tuple[str, int], List[_Bar]]:
    """States of the bars that may be the job's own, those of one bar together."""
    runs: Dict[Tuple[str, int], List[_Bar]] = {}
    for bar in bars:
        if _is_jobs(bar):
            runs.setdefault((_words(bar.label), bar.total), []).append(bar)
    return runs


def _rises(run: List[_Bar]) -> bool:
    """Tell whether a bar never began again."""
    return all(run[at].done <= run[at + 1].done for at in range(len(run) - 1))


def _is_jobs(bar: _Bar) -> bool:
    if not bar.label:
        return True
    if _OTHER_PHASE.search(bar.label) or re.search(r"epoch\W*\d", bar.label, re.IGNORECASE):
        return False
    return bool(_TRAIN_LABEL.match(bar.label))


def _words(label: str) -> str:
    """A label without its numbers: `train loss 0.3` and `train loss 0.2` are one bar."""
    return re.sub(r"[\d.]+", "", label)


def _spans(run: List[_Bar], bars: List[_Bar]) -> bool:
    """Tell whether another bar came and went while this one stood: then it is the outer of two."""
    mine = {bar.line for bar in run}
    return any(run[0].line < bar.line < run[-1].line and bar.line not in mine for bar in bars)


def _answer(unit: str, done: int, total: int, fraction: Optional[float], eta: Optional[float]) -> Dict[str, Any]:
    whole = done / total if fraction is None else fraction
    text = "{} {}/{}".format(unit, done, total)
    return {"done": done, "total": total, "unit": unit, "fraction": whole, "eta_s": eta, "text": text}
