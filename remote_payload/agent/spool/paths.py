"""Every name on disk below a spool's root, owned by one class. Ids are checked, so none of them can lead outside."""

from __future__ import annotations

import os
import re
from typing import List

from remote_payload.agent.faults import AgentFault

VERSION = "1"
"""Of the spool's layout; stands in <root>/VERSION."""

_SUBMISSION = re.compile(r"s-[a-z0-9]{4,32}")
_JOB = re.compile(r"j-[a-z0-9]{4,32}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_RETRY = re.compile(r"retry-([A-Za-z0-9][A-Za-z0-9-]{0,63})\.json")


def is_submission_id(text: object) -> bool:
    """Tell whether something is a submission's id."""
    return isinstance(text, str) and _SUBMISSION.fullmatch(text) is not None


def is_job_id(text: object) -> bool:
    """Tell whether something is a job's id."""
    return isinstance(text, str) and _JOB.fullmatch(text) is not None


def is_digest(text: object) -> bool:
    """Tell whether something is a digest in lower-case hex."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _checked(pattern: "re.Pattern[str]", text: str, what: str) -> str:
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise AgentFault("bad_request", "not {}: {!r}".format(what, text)[:200])
    return text


class AttemptPaths:
    """One try of a job.

    Attributes:
        folder: its mkdir by the keeper is the claim.
        lock: held (flock) as long as the supervisor lives.
        lease, start, end: JSON, each written once.
        log: stdout and stderr of the job.
        script: the user's text.
        gpu_use: gpu.jsonl, samples of its GPUs by the keeper.
        sessions: sessions.json, what its processes can be found by when the supervisor is gone.
    """

    def __init__(self, folder: str, number: int) -> None:
        # Not os.path.join, here and in JobPaths: looking at thousands of jobs would be a quarter that.
        self.number = number
        self.folder = folder
        self.lock = folder + "/lock"
        self.lease = folder + "/lease.json"
        self.start = folder + "/start.json"
        self.end = folder + "/end.json"
        self.log = folder + "/log"
        self.script = folder + "/script"
        self.gpu_use = folder + "/gpu.jsonl"
        self.sessions = folder + "/sessions.json"


class JobPaths:
    """One job.

    Attributes:
        cancel: cancel.json {at, by}.
        priority: priority.json {priority, by, at}, when somebody changed its place in the queue; the last one counts.
        pulled: pulled.json {attempt, at, to}.
        env: env.json {digest}; the keeper writes it when it knows which environment the job's setup makes.
        workdir: the folder the job runs in; workdir_index tells what was laid out there, {path: [size, mtime_ns]}.
        outputs: $ORCH_OUTPUT_DIR.
    """

    def __init__(self, folder: str, job: str) -> None:
        self.id = job
        self.folder = folder
        self.cancel = folder + "/cancel.json"
        self.priority = folder + "/priority.json"
        self.pulled = folder + "/pulled.json"
        self.env = folder + "/env.json"
        self.workdir = folder + "/workdir"
        self.workdir_index = folder + "/workdir.json"
        self.outputs = folder + "/outputs"
        self.attempts = folder + "/attempts"

    def retry(self, request: str) -> str:
        """Return the file that records one request to try again."""
        return os.path.join(self.folder, "retry-{}.json".format(_checked(_REQUEST, request, "a request's id")))

    def retries(self) -> List[str]:
        """Return the files of all requests to try again."""
        return [os.path.join(self.folder, name) for name in _names(self.folder) if _RETRY.fullmatch(name)]

    def attempt(self, number: int) -> AttemptPaths:
        """Return one try; numbers start at 1."""
        if number < 1:
            raise AgentFault("bad_request", "attempts are numbered from 1, not {}".format(number))
        return AttemptPaths(os.path.join(self.attempts, str(number)), number)

    def attempt_numbers(self) -> List[int]:
        """Return the numbers of the tries that were claimed, in order."""
        return sorted(int(name) for name in _names(self.attempts) if name.isdigit() and str(int(name)) == name)


class EnvPaths:
    """The environment that one setup makes, named by its digest.

    Attributes:
        building: locked (flock) by the process that builds.
        request: what to build, written by the keeper.
        ready, failed: JSON, one of them at the end.
        venv: orch's own virtual environment, where one was needed.
    """

    def __init__(self, folder: str, digest: str) -> None:
        self.digest = digest
        self.folder = folder
        self.building = os.path.join(folder, "building")
        self.request = os.path.join(folder, "request.json")
        self.log = os.path.join(folder, "log")
        self.ready = os.path.join(folder, "ready.json")
        self.failed = os.path.join(folder, "failed.json")
        self.venv = os.path.join(folder, "venv")


class SpoolPaths:
    """A spool.

    Args:
        root: its folder, absolute.

    Attributes:
        profile: profile.json, what the controller last said of the provider.
        keeper_lock: held (flock) as long as a keeper lives.
        keeper_poke: FIFO; one byte makes the keeper look at once.
        keeper_pid: pid.json {pid, start_ticks, at}.
        finals: finals.json, the keeper's cache of what is over (see spool.finals).
        paused: paused.json {at, by}, there while nothing new is to start on this host.
        waiting: waiting.json {job id: {reason, detail}}, the keeper's cache of why jobs wait.
        pins: one empty file for each pack and snapshot that a controller was told of; see gc.
        gc_lock: shared while somebody relies on what is stored, exclusive while it is removed.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.version = os.path.join(root, "VERSION")
        self.host = os.path.join(root, "host.json")
        self.profile = os.path.join(root, "profile.json")
        self.submits = os.path.join(root, "submits")
        self.packs = os.path.join(root, "packs")
        self.snapshots = os.path.join(root, "snapshots")
        self.jobs = os.path.join(root, "jobs")
        self.envs = os.path.join(root, "envs")
        self.shims = os.path.join(root, "envs", "shims")
        self.pins = os.path.join(root, "pins")
        self.tmp = os.path.join(root, "tmp")
        self.secrets = os.path.join(root, "secrets")
        self.gc_lock = os.path.join(root, "gc.lock")
        self.keeper = os.path.join(root, "keeper")
        self.keeper_lock = os.path.join(self.keeper, "lock")
        self.keeper_log = os.path.join(self.keeper, "log")
        self.keeper_poke = os.path.join(self.keeper, "poke")
        self.keeper_pid = os.path.join(self.keeper, "pid.json")
        self.waiting = os.path.join(self.keeper, "waiting.json")
        self.finals = os.path.join(self.keeper, "finals.json")
        self.paused = os.path.join(self.keeper, "paused.json")

    def folders(self) -> List[str]:
        """Return the folders every spool has."""
        return [
            *(self.submits, self.packs, self.snapshots, self.jobs),
            *(self.envs, self.pins, self.tmp, self.keeper),
        ]

    def submission(self, submission: str) -> str:
        """Return the file whose rename into place acknowledges a submission."""
        return os.path.join(self.submits, _checked(_SUBMISSION, submission, "a submission's id") + ".json")

    def job(self, job: str) -> JobPaths:
        """Return a job's names."""
        return JobPaths(os.path.join(self.jobs, _checked(_JOB, job, "a job's id")), job)

    def attempt(self, job: str, number: int) -> AttemptPaths:
        """Return the names of one try of a job."""
        return self.job(job).attempt(number)

    def env(self, digest: str) -> EnvPaths:
        """Return an environment's names."""
        return EnvPaths(os.path.join(self.envs, _checked(_DIGEST, digest, "a digest")), digest)

    def snapshot(self, snapshot: str) -> str:
        """Return a manifest's file."""
        return os.path.join(self.snapshots, _checked(_DIGEST, snapshot, "a digest") + ".json")

    def pack(self, digest: str) -> str:
        """Return the file of a pack's blobs."""
        return os.path.join(self.packs, _checked(_DIGEST, digest, "a digest") + ".pack")

    def pack_index(self, digest: str) -> str:
        """Return the file that says where each blob of a pack lies."""
        return os.path.join(self.packs, _checked(_DIGEST, digest, "a digest") + ".json")

    def pin(self, digest: str) -> str:
        """Return the file whose age says how long ago a controller was told that a pack or snapshot is here."""
        return os.path.join(self.pins, _checked(_DIGEST, digest, "a digest"))

    def job_ids(self) -> List[str]:
        """Return the jobs that have a folder (one that has never started may have none)."""
        return [name for name in _names(self.jobs) if is_job_id(name)]


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
