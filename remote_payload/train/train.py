"""Train a digit classifier: `python train.py --epochs 3`, or `python -m remote_payload.train.train`.

Runs by itself, with orch or without: torch, and scikit-learn for the digits. See README.md beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

if __package__:
    from .digits.errors import TrainError
    from .digits.flags import parse
else:  # started as a script: Python has put this folder on the path
    from digits.errors import TrainError  # type: ignore[import-not-found,no-redef]
    from digits.flags import parse  # type: ignore[import-not-found,no-redef]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 when training failed, 2 for a bad flag or bad data, 130 when interrupted."""
    args = parse(argv)
    try:
        # Imported after the flags are known to be good: torch takes seconds.
        if __package__:
            from .digits.session import run
        else:
            from digits.session import run  # type: ignore[import-not-found,no-redef]
        run(args)
    except TrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        print(
            f"error: PyTorch is not installed for {sys.executable}; `python install.py` beside this file brings it.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted; checkpoint.pt holds the last whole epoch.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
