"""A job's whole way through the real agent, over every transport alike."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from orchestrator.errors import AgentError
from orchestrator.remote.agent_link import AgentLink
from tests.contract.conftest import Place
from tests.harness.pythons import Python, pythons
from tests.harness.submitting import Sent, wait_final
from tests.harness.waiting import wait_until


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print('hello from the snapshot')\n")
    return folder


def log_of(link: AgentLink, job: str) -> bytes:
    return b"".join(piece.data for piece in link.follow(job, attempt=1))


def test_hello_world(link: AgentLink, code: Path) -> None:
    sent = Sent(
        code, 'echo hello; python train.py; mkdir -p "$ORCH_OUTPUT_DIR"; echo result > "$ORCH_OUTPUT_DIR/a b.txt"'
    )
    reply = sent.send(link)
    assert reply["keeper"]["alive"]
    pieces = list(link.follow(sent.job))
    assert b"hello\nhello from the snapshot\n" in b"".join(piece.data for piece in pieces)
    end = pieces[-1].end
    assert end is not None
    assert (end["state"], end["exit_code"]) == ("SUCCEEDED", 0)
    view = wait_final(link, sent.job)
    assert (view["state"], view["reason"], view["exit_code"], view["attempt"]) == ("SUCCEEDED", "exit_zero", 0, 1)
    listed = link.outputs(sent.job)
    wanted = {file["path"]: file for file in listed["files"]}
    assert wanted["a b.txt"]["sha256"] == hashlib.sha256(b"result\n").hexdigest()
    files = [(file["root"], file["path"], 0) for file in listed["files"]]
    got = dict.fromkeys(range(len(files)), b"")
    for piece in link.read_files(sent.job, files):
        assert piece.offset == len(got[piece.n])
        got[piece.n] += piece.data
    for n, file in enumerate(listed["files"]):
        assert hashlib.sha256(got[n]).hexdigest() == file["sha256"]
    link.pulled(sent.job, 1, "/home/me/results")


@pytest.mark.parametrize("python", [pythons()[0], pythons()[-1]], ids=lambda python: python.name)
def test_agent_on_the_oldest_and_the_newest_python(place: Place, code: Path, python: Python) -> None:
    link = place.link(python_hint=python.path)
    assert link.hello["python"]["version"].startswith(python.name + ".")
    sent = Sent(code, "echo hello")
    sent.send(link)
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
    assert b"hello\n" in log_of(link, sent.job)


def test_same_submission_again_is_acknowledged_again(link: AgentLink, code: Path) -> None:
    sent = Sent(code, "true")
    sent.send(link)
    assert link.enqueue(sent.digest, sent.body)["acknowledged"]
    sent.spec["run"] = "false"
    with pytest.raises(AgentError) as caught:
        link.enqueue(sent.digest, sent.body)
    assert caught.value.code == "conflict"
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
    assert [view["id"] for view in link.jobs()] == [sent.job]


def test_the_newest_submission_alone(link: AgentLink, code: Path) -> None:
    assert link.jobs(newest=True) == []
    old, new, other = Sent(code, "true"), Sent(code, "true"), Sent(code, "true", project="other")
    for sent in (other, new, old):
        sent.send(link)
        wait_final(link, sent.job)
    assert {view["id"] for view in link.jobs()} == {old.job, new.job, other.job}
    assert [view["id"] for view in link.jobs(newest=True)] == [other.job]
    assert [view["id"] for view in link.jobs(project="test", newest=True)] == [new.job], "by when it was made"


def test_failure_is_told_and_may_be_tried_again(link: AgentLink, code: Path) -> None:
    sent = Sent(code, "echo try $ORCH_ATTEMPT; test $ORCH_ATTEMPT = 2 || exit 3")
    sent.send(link)
    view = wait_final(link, sent.job)
    assert (view["state"], view["exit_code"]) == ("FAILED", 3)
    link.retry([sent.job], request="once")
    link.retry([sent.job], request="once")
    view = wait_final(link, sent.job)
    assert (view["state"], view["attempt"]) == ("SUCCEEDED", 2)
    assert b"try 1\n" in link.read_log(sent.job, attempt=1).data
    assert b"try 2\n" in link.read_log(sent.job, attempt=2, tail_lines=5).data


def test_follow_resumes_at_an_offset(place: Place, code: Path) -> None:
    link = place.link()
    sent = Sent(code, "for i in $(seq 200); do echo line $i; sleep 0.005; done")
    sent.send(link)
    seen = b""
    for piece in link.follow(sent.job):
        assert piece.offset == len(seen)
        seen += piece.data
        if seen.count(b"\n") > 20:
            break
    place.break_line(link)
    again = place.link()
    for piece in again.follow(sent.job, attempt=1, offset=len(seen)):
        if piece.data:
            assert piece.offset == len(seen)
            seen += piece.data
    assert b"".join(b"line %d\n" % i for i in range(1, 201)) in seen
    assert seen == log_of(again, sent.job)


def test_cancel(link: AgentLink, code: Path) -> None:
    sent = Sent(code, "echo begun; exec sleep 300")
    sent.send(link)
    wait_until(lambda: link.jobs()[0]["state"] == "RUNNING")
    assert link.cancel([sent.job], by="me@laptop") == {sent.job: "CANCELLING"}
    view = wait_final(link, sent.job)
    assert (view["state"], view["reason"]) == ("CANCELLED", "cancelled_by_user")


def test_job_outlives_the_link(place: Place, code: Path) -> None:
    link = place.link()
    sent = Sent(code, "sleep 1; echo done")
    sent.send(link)
    link.close()
    again = place.link()
    assert wait_final(again, sent.job)["state"] == "SUCCEEDED"
    assert b"done\n" in log_of(again, sent.job)


def test_secret_reaches_the_job_and_nothing_else(link: AgentLink, place: Place, code: Path) -> None:
    secret = "s3cret-value-0123456789"
    spec = {"name": "WANDB_API_KEY", "optional": False, "at_rest": "memory"}
    sent = Sent(code, 'printf %s "$WANDB_API_KEY" | sha256sum', {"WANDB_API_KEY": secret}, secrets=[spec])
    sent.send(link)
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in log_of(link, sent.job)
    holding = [path for path in place.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert holding == []


def test_large_tree_and_large_output(link: AgentLink, code: Path) -> None:
    for n in range(300):
        (code / f"file {n}.txt").write_text(f"content {n}\n" * 50)
    (code / "big.bin").write_bytes(bytes(range(256)) * 20_000)
    sent = Sent(code, 'cp big.bin "$ORCH_OUTPUT_DIR/copy.bin"; ls | wc -l')
    assert sent.send(link)["acknowledged"]
    assert wait_final(link, sent.job)["state"] == "SUCCEEDED"
    listed = {file["path"]: file for file in link.outputs(sent.job)["files"]}
    reading = link.read_file(sent.job, listed["copy.bin"]["root"], "copy.bin", offset=1000)
    data = b"".join(piece.data for piece in reading)
    assert data == (code / "big.bin").read_bytes()[1000:]
    assert reading.size == len(data) + 1000
    assert reading.sha256 == listed["copy.bin"]["sha256"]
    second = Sent(code, "true")
    assert link.have([second.tree.snapshot_id], list(second.tree.blobs))["missing"] == []


def test_python_that_is_not_there_is_refused_with_names(link: AgentLink) -> None:
    with pytest.raises(AgentError) as caught:
        link.resolve_python({"kind": "conda", "name": "nope"})
    assert caught.value.code == "not_found"
    found = link.resolve_python({"kind": "auto"})
    assert found["python"].startswith("/")


def test_gc_removes_what_was_pulled(link: AgentLink, code: Path) -> None:
    sent = Sent(code, "true")
    sent.send(link)
    wait_final(link, sent.job)
    link.pulled(sent.job, 1, "/home/me/results")
    assert link.gc(dry_run=True, older_than=0.0)["freed"] >= 0
    assert [view["id"] for view in link.jobs()] == [sent.job]


def test_after_a_reboot_the_queue_goes_on_when_anyone_connects(place: Place, code: Path) -> None:
    link = place.link()
    policy = {"max": 1, "on": ["host"], "backoff": 0.0}
    lost = Sent(code, "echo $ORCH_ATTEMPT; [ $ORCH_ATTEMPT = 2 ] || sleep 600")
    again = Sent(code, "echo $ORCH_ATTEMPT; [ $ORCH_ATTEMPT = 2 ] || sleep 600", retry=policy)
    for sent in (lost, again):
        sent.send(link)
        wait_until(lambda sent=sent: link.read_log(sent.job).data == b"1\n", 20, "it runs")  # type: ignore[misc]
    root = Path(link.opened["root"])
    keeper = link.status()["keeper"]["pid"]
    link.close()
    # What a reboot leaves: no process, and an attempt that began in another boot.
    starts = [root / "jobs" / sent.job / "attempts" / "1" / "start.json" for sent in (lost, again)]
    leaders = [json.loads(start.read_text())["pid"] for start in starts]
    supervisors = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in leaders]
    for pid in (keeper, *supervisors, *leaders):
        os.kill(pid, signal.SIGKILL)
    for start in starts:
        start.write_text(json.dumps({**json.loads(start.read_text()), "boot": {"id": "before", "pid1_start": "1"}}))
    later = place.link()
    view = wait_final(later, lost.job)
    assert (view["state"], view["reason"]) == ("LOST", "host_rebooted")
    assert wait_final(later, again.job)["state"] == "SUCCEEDED"
    assert log_of(later, again.job) == b"1\n2\n"
