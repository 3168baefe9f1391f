"""Bringing one job's results home.

The results of a job lie in `<results>/<submission>/<job name>/`: its output files under their own names, `log` (the
newest attempt's; `log.1`, `log.2` … are earlier ones), `job.json`. Nothing there is overwritten: a file whose content
is there already is skipped, one that differs from what stands under its name is called `NAME.attempt-<n>.ENDING`.
Only what orch itself wrote and what only grows is gone on with: logs are appended to, job.json and summary.csv follow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestrator.errors import AgentError, RefusedError
from orchestrator.fetch.folder import WINDOWS, Blocked, JobFolder, explained, open_folder
from orchestrator.fetch.listing import Result, read_list, stays_inside
from orchestrator.fetch.logs import pull_logs, write_view
from orchestrator.fetch.names import Layout
from orchestrator.fetch.source import ResultSource
from orchestrator.fetch.summary import write_summary
from orchestrator.fetch.transfer import Transfer, Want
from remote_payload.agent.spool.states import FINAL_STATES
from remote_payload.agent.wire.messages import JobView

Progress = Callable[[int, int], None]
"""Called with (bytes here, bytes in all)."""


@dataclass
class PullReport:
    """What a pull brought.

    Args:
        folder: the job's results folder.
        files: new files (logs not counted).
        bytes: bytes that came over, logs counted.
        skipped: files that were here already.
        renamed: (name on the host, name here) of what could not keep its name.
        left_out: (path, bytes, why) of what did not come.
        outward: (path, target) of symlinks that lead out of the results and were not made here.
        warnings: sentences for people.
        marked: the host was told that everything is here.
    """

    folder: Path
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    renamed: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, int, str]] = field(default_factory=list)
    outward: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    marked: bool = False


def pull_job(link: ResultSource, view: JobView, dest: Path, *, progress: Progress | None = None) -> PullReport:
    """Bring a job's results home, or go on with an earlier pull of them.

    Args:
        link: the host.
        view: the job as the host tells it now; a job that still runs may be pulled, too.
        dest: the results folder; the job's own is `dest/<submission>/<job name>`.
        progress: told how far it is.

    Raises:
        HostError: the host or the line failed; what arrived stays and the next pull goes on.
        RefusedError: this computer's disk is full or the folder may not be written.
    """
    with explained(dest):
        folder = open_folder(dest, view)
        return _Pull(link, view, folder, progress).run()


class _Pull:
    def __init__(self, link: ResultSource, view: JobView, folder: JobFolder, progress: Progress | None) -> None:
        self._link = link
        self._view = view
        self._folder = folder
        self._progress = progress
        self._here = 0
        self._total = 0
        self._attempt = 0
        self._complete = True
        self._first: dict[str, Result] = {}
        self._placed: dict[str, Path] = {}
        self._new: list[Path] = []
        self.report = PullReport(folder.path)

    def run(self) -> PullReport:
        write_view(self._folder, self._view, self._link.name)
        listed = read_list(self._link.outputs(self._view["id"]), self.report.left_out)
        self._attempt = listed.attempt
        self._complete = listed.complete
        self._name(listed.results)
        copies = self._choose([result for result in listed.results if result.link is None])
        wants = [Want(one.root, one.path, one.size, one.sha256) for one in self._first.values()]
        needed = sum(want.size for want in wants)
        self._total = needed + sum(attempt["log_size"] for attempt in self._view["attempts"])
        self._check_room(needed + sum(result.size for result in copies))
        pull_logs(self._link, self._view, self._folder, self._moved, self.report.warnings)
        transfer = Transfer(self._link, self._view["id"], self._folder, self._arrived, self._had, self._moved)
        transfer.run(wants)
        for want, why in transfer.failed:
            self._leave(self._first[want.sha256], why)
        self._copy(copies)
        self._make_links(listed.results)
        self._folder.tidy()
        write_summary(self._folder.path.parent)
        self._mark()
        return self.report

    def _name(self, results: list[Result]) -> None:
        layout = Layout(windows=WINDOWS, folds=WINDOWS or self._folder.folds_case())
        for result in results:
            result.local = layout.place(result.path)
            if result.local != result.path:
                self.report.renamed.append((result.path, result.local))

    def _choose(self, files: list[Result]) -> list[Result]:
        """Sort out what is here already and what must come (one of each content); returns the further copies."""
        copies: list[Result] = []
        for result in files:
            try:
                target, there = self._folder.find(result.local, result.size, result.sha256, self._attempt)
            except Blocked as error:
                self._leave(result, str(error))
                continue
            if there:
                self.report.skipped += 1
                self._placed.setdefault(result.sha256, target)
            elif result.sha256 in self._first:
                copies.append(result)
            else:
                self._first[result.sha256] = result
        here = [sha for sha in self._first if sha in self._placed]
        return copies + [self._first.pop(sha) for sha in here]

    def _check_room(self, wanted: int) -> None:
        free = shutil.disk_usage(self._folder.path).free
        if wanted > free:
            raise RefusedError(
                f"the results need {wanted / 1e6:.0f} MB and {self._folder.path} has {free / 1e6:.0f} MB left",
                "Make room or choose another folder with `orch pull --to`.",
            )

    def _had(self, count: int) -> None:
        self._here += count
        if self._progress:
            self._progress(self._here, max(self._total, self._here))

    def _moved(self, count: int) -> None:
        self.report.bytes += count
        self._had(count)

    def _arrived(self, want: Want, here: Path) -> None:
        result = self._first[want.sha256]
        self._settle(
            result,
            lambda target: self._folder.finish(here, target, executable=result.executable, mtime=result.mtime),
        )

    def _copy(self, copies: list[Result]) -> None:
        for result in copies:
            source = self._placed.get(result.sha256)
            if source is None:
                self._leave(result, "the same content under another name did not come")
            else:
                self._settle(result, partial(self._folder.copy, source))

    def _settle(self, result: Result, put: Callable[[Path], bool]) -> None:
        """Give a file its name; when another pull takes it first, look again."""
        try:
            while True:
                target, there = self._folder.find(result.local, result.size, result.sha256, self._attempt)
                if there or put(target):
                    break
        except (Blocked, FileNotFoundError) as error:
            self._leave(result, str(error) if isinstance(error, Blocked) else "another pull of this job is running")
            return
        self._placed[result.sha256] = target
        if there:
            self.report.skipped += 1
            return
        self.report.files += 1
        self._new.append(target)
        here = target.relative_to(self._folder.path).as_posix()
        if here != result.local:
            self.report.renamed.append((result.path, here))

    def _make_links(self, results: list[Result]) -> None:
        for result in results:
            if result.link is None:
                continue
            if not stays_inside(result.local, result.link):
                self.report.outward.append((result.path, result.link))
                continue
            try:
                made = self._folder.link(result.local, result.link, self._attempt)
            except Blocked as error:
                self.report.warnings.append(f"{result.path}: {error}")
                continue
            self.report.files += made
            self.report.skipped += not made

    def _leave(self, result: Result, why: str) -> None:
        self._complete = False
        self.report.left_out.append((result.path, result.size, why))

    def _mark(self) -> None:
        """Tell the host that everything is here, once it is on this computer's disk: the host may then remove it."""
        if self._view["state"] not in FINAL_STATES or not self._complete:
            return
        for path in self._new:
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        try:
            self._link.pulled(self._view["id"], self._attempt, str(self._folder.path))
        except AgentError as error:
            self.report.warnings.append(f"the host could not note that the results were pulled: {error.message}")
            return
        self.report.marked = True
