"""The demo's project: the shipped jobs.yaml and training payload, written into a folder of their own."""

from __future__ import annotations

from pathlib import Path

import remote_payload
from orchestrator.errors import OrchError

JOBS_FILE = "jobs.yaml"
PAYLOAD = Path("remote_payload", "train")  # where jobs.yaml says the code is
SOURCE_SUFFIXES = (".py", ".md")


def write_demo_project(folder: Path) -> Path:
    """Write jobs.yaml and the payload into `folder`, laid out as in the repository.

    Args:
        folder: made when it is not there; files of the same names are overwritten, others stay.

    Returns:
        The path of the jobs.yaml.

    Raises:
        OrchError: this installation lacks the files.
        OSError: the folder cannot be written.
    """
    jobs_file = _jobs_file()
    source = Path(remote_payload.__path__[0]) / PAYLOAD.name
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        # What a run by hand left there (caches, its output) stays behind.
        if path.is_file() and path.suffix in SOURCE_SUFFIXES:
            place = folder / PAYLOAD / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    target = folder / JOBS_FILE
    target.write_bytes(jobs_file.read_bytes())
    return target


def _jobs_file() -> Path:
    """From a wheel it lies in orchestrator/demo_project; in a checkout at the root, beside the packages."""
    here = Path(__file__).parent
    for candidate in (here / "demo_project" / JOBS_FILE, here.parent / JOBS_FILE):
        if candidate.is_file():
            return candidate
    raise OrchError("This installation of orch lacks the demo's jobs.yaml.", "Install it again: pip install orch-ssh.")
