"""Short jobs that are hard to keep in order, and that tell by themselves when something is wrong.

Each attempt appends `begin` and, at its end, `done` lines to a file outside the spool, and holds a lock (by flock) for
its job and for each of its GPUs as long as any process of it has the descriptor: who meets a lock that is held writes a
line into the file of conflicts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRINTED = 300
"""Lines a printing job prints."""


@dataclass(frozen=True)
class Witness:
    """Where jobs write what they saw; a folder that no spool knows of."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)

    @property
    def effects(self) -> Path:
        """Lines `host job attempt token word`."""
        return self.folder / "effects"

    @property
    def conflicts(self) -> Path:
        """One line for each lock that was held by somebody else."""
        return self.folder / "conflicts"

    def prelude(self) -> str:
        """Return what every job does first. The host it is on is known by its HOME, `…/<host>/home`."""
        here = self.folder
        return f"""
token=$RANDOM$RANDOM$RANDOM
host=$(basename "$(dirname "$HOME")")
tell() {{ printf '%s %s %s %s %s\\n' "$host" "$ORCH_JOB_ID" "$ORCH_ATTEMPT" "$token" "$1" >> {here}/effects; }}
clash() {{ echo "$1 while $ORCH_JOB_ID attempt $ORCH_ATTEMPT begins" >> {here}/conflicts; }}
tell begin
exec 8>> {here}/locks/$ORCH_JOB_ID
flock -n 8 || clash "its job has another live attempt"
n=20
for gpu in ${{CUDA_VISIBLE_DEVICES//,/ }}; do
  eval "exec $n>> {here}/locks/$host-gpu-$gpu"
  flock -n $LOCK_KIND $n || clash "GPU $gpu of $host is in use"
  n=$((n + 1))
done
"""


@dataclass
class Planned:
    """One job before it is sent.

    Args:
        kind: a key of KINDS.
        text: its command without the prelude.
        changes: fields of its spec.
        ends: end reasons it may have when nobody interferes.
    """

    kind: str
    text: str
    changes: dict[str, Any] = field(default_factory=dict)
    ends: tuple[str, ...] = ("exit_zero",)


def quick(dice: random.Random) -> Planned:
    """Ends at once."""
    return Planned("quick", f"sleep {dice.uniform(0, 0.2):.2f}")


def fails(dice: random.Random) -> Planned:
    """Ends with a code of its own."""
    return Planned("fails", f"exit {dice.randint(1, 100)}", ends=("exit_nonzero",))


def prints(dice: random.Random) -> Planned:
    """Prints numbered lines, now and then with a pause."""
    pause = f"[ $((i % {dice.randint(20, 90)})) = 0 ] && sleep 0.02"
    return Planned("prints", f"for i in $(seq {PRINTED}); do echo line $i of job; {pause} || :; done")


def outputs(dice: random.Random) -> Planned:
    """Leaves files, one of them with bytes that are no text."""
    size = dice.randint(1, 60_000)
    return Planned(
        "outputs", f'head -c {size} /dev/urandom > "$ORCH_OUTPUT_DIR/data.bin"; echo x > "$ORCH_OUTPUT_DIR/a b"'
    )


def forks(dice: random.Random) -> Planned:
    """Leaves children behind that must be found and ended."""
    return Planned("forks", f"for i in 1 2 3; do (sleep 60; echo late) & done; sleep {dice.uniform(0, 0.3):.2f}")


def hides(dice: random.Random) -> Planned:
    """Leaves a process in a session of its own, with an empty environment and the log closed."""
    text = "env -i setsid sleep 60 < /dev/null > /dev/null 2>&1 & setsid sleep 60 &"
    return Planned("hides", f"{text} sleep {dice.uniform(0.05, 0.3):.2f}")


def stubborn(dice: random.Random) -> Planned:
    """Ignores TERM and runs into its timeout."""
    return Planned(
        "stubborn",
        "trap '' TERM; while :; do sleep 0.05 || :; done",
        {"timeout": round(dice.uniform(0.3, 0.8), 2), "grace": 0.2},
        ("timeout",),
    )


def again(dice: random.Random) -> Planned:
    """Fails once and is tried again by its own policy."""
    del dice
    policy = {"max": 2, "on": ["exit", "host"], "backoff": 0.05}
    return Planned("again", '[ "$ORCH_ATTEMPT" != 1 ]', {"retry": policy}, ("exit_zero",))


def persistent(dice: random.Random) -> Planned:
    """Begins again whatever happens to its host."""
    policy = {"max": 9, "on": ["host", "exit", "timeout"], "backoff": 0.01}
    return Planned("persistent", f"echo x >> kept; sleep {dice.uniform(0.1, 0.5):.2f}", {"retry": policy})


def sleeps(dice: random.Random) -> Planned:
    """Runs for a while, so that something can happen to it."""
    return Planned("sleeps", f"echo up; sleep {dice.uniform(0.5, 1.5):.2f}")


KINDS: dict[str, Callable[[random.Random], Planned]] = {
    each.__name__: each for each in (quick, fails, prints, outputs, forks, hides, stubborn, again, persistent, sleeps)
}


def plan(dice: random.Random, count: int) -> list[Planned]:
    """Return some jobs of every kind, some with GPUs, some with a priority."""
    planned = []
    for _ in range(count):
        job = KINDS[dice.choice(sorted(KINDS))](dice)
        job.changes.setdefault("grace", 1.0)
        job.changes["gpus"] = dice.choice([0, 0, 1, 1, 2, 0.5])
        job.changes["priority"] = dice.choice([0, 0, 0, 5])
        planned.append(job)
    return planned


def command(planned: Planned, witness: Witness) -> str:
    """Return the whole text of a job."""
    kind = "-s" if planned.changes.get("gpus") == 0.5 else "-x"
    return f"LOCK_KIND={kind}\n{witness.prelude()}\n{planned.text}\ntell done\n"
