"""What may go wrong and be told in one sentence."""

from __future__ import annotations


class TrainError(Exception):
    """The run cannot go on; the sentence says what to do next (exit 1)."""

    exit_code = 1


class InputError(TrainError):
    """A flag or a data file is not usable (exit 2)."""

    exit_code = 2
