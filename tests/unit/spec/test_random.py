"""Whatever the bytes: a file is read, or refused in one sentence; nothing else comes out."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.spec.expand import JobsFile, load_jobs_file

_JOBS = "jobs:\n  train:\n    run: python train.py ${{ matrix.lr }}\n    matrix: {lr: [1e-3, 1e-4]}\n    env: {A: b}\n"
_PIECES = st.sampled_from([
    *("jobs:", "train:", "run:", " ", "  ", "\n", "- ", "{", "}", "[", "]", ",", ": ", "&a ", "*a", "!!int ", "|"),
    *('"', "'", "#", "${{ matrix.lr }}", "${{", "}}", "env", "matrix", "range", "include", "1e-4", "null", "true"),
    *("---\n", "%YAML 1.2\n", "? ", "<<", "defaults:", "hosts:", "ssh", "secrets", "resources", "\ufeff", "\x85"),
    *("\u2028", "\\x", "\\U0011ffff", "训", "=", "@", "`", "~", "setup", "python", "conda", "timeout", "2h", "code"),
    *("outputs", "version", "project", "exclude", "gpus", "-1", ">-", "\t", "\x00"),
])  # fmt: skip
_SPOILT = st.tuples(st.integers(0, len(_JOBS)), st.integers(0, 12), st.lists(_PIECES, max_size=3)).map(
    lambda change: _JOBS[: change[0]] + "".join(change[2]) + _JOBS[change[0] + change[1] :]
)
_TEXT = st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=25).map("".join), _SPOILT)
_BYTES = st.binary(max_size=60) | _TEXT.map(lambda text: text.encode("utf-8", "surrogatepass"))


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        file = load_jobs_file(path)
    except ConfigError as error:
        found = re.fullmatch(rf"{re.escape(str(path))}:(\d+):(\d+): [^\n]+", error.message)
        assert found, error.message
        lines = content.decode("utf-8", "replace").splitlines() or [""]
        assert 1 <= int(found[1]) <= len(lines) + 1
        assert int(found[2]) >= 1
    else:
        assert isinstance(file, JobsFile) and file.jobs


def test_any_bytes(tmp_path: Path) -> None:
    # The property stands inside because one folder serves all examples.
    @settings(max_examples=400, deadline=None)
    @given(content=_BYTES)
    def run(content: bytes) -> None:
        check(tmp_path / "jobs.yaml", content)

    run()
