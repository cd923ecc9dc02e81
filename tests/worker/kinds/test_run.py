"""Any command as a job, with real processes: what it is told, how it ends, and what becomes of what it leaves."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from singlepoint.jobs.clock import now
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Ask, Author, State
from singlepoint.worker.ground import job_log
from singlepoint.worker.programs.variables import devices
from tests.conftest import LONGEST_S
from tests.worker.making import Maker, ends

COMMAND = {"kind": "run", "name": "c"}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def shell(maker: Maker, script: str, **spec: Any) -> str:
    """A job that runs a line of the shell."""
    return maker.submit({**COMMAND, "command": script}, **spec)


def made(maker: Maker, script: str, **spec: Any) -> Job:
    return maker.make(shell(maker, script, **spec))


def log_of(maker: Maker, job: Job) -> str:
    log = maker.home.job_files(job.id).log
    return log.read_text() if log.exists() else ""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def ask(maker: Maker, job_id: str, what: Ask) -> None:
    maker.store.note(job_id, Note.ASK, now(), ask=what.value, by=Author.USER.value)


def test_a_command_succeeds_and_its_output_is_published_under_its_name(maker: Maker) -> None:
    job = made(maker, "echo seen; echo made > $SINGLEPOINT_OUTPUT_DIR/answer")

    assert (job.state, job.bit_identical) == (State.SUCCEEDED, None)
    assert job.result is not None
    place = maker.home.outputs / "c" / "1"
    assert job.result["path"] == str(place)
    assert (place / "answer").read_text() == "made\n"
    assert "seen\n" in log_of(maker, job)


def test_what_a_command_is_told(maker: Maker) -> None:
    job = made(maker, "env", resources={"cpu": 1, "memory": "64MiB"}, env={"GIVEN": "one"})

    told = dict(line.split("=", 1) for line in log_of(maker, job).splitlines() if "=" in line)
    files = maker.home.job_files(job.id)
    assert told["SINGLEPOINT_HOME"] == str(maker.home.path)
    assert (told["SINGLEPOINT_JOB_ID"], told["SINGLEPOINT_JOB_NAME"]) == (job.id, "c")
    assert (told["SINGLEPOINT_ATTEMPT"], told["SINGLEPOINT_RESTARTS"]) == ("1", "0")
    assert told["SINGLEPOINT_CHECKPOINT_DIR"] == str(files.checkpoints)
    assert (told["SINGLEPOINT_CPUS"], told["OMP_NUM_THREADS"]) == ("1", "1")
    assert told["SINGLEPOINT_MEMORY_BYTES"] == str(64 * 2**20)
    assert told["SINGLEPOINT_GRACE_S"] == "60"
    assert told["GIVEN"] == "one"
    assert {"SINGLEPOINT_OUTPUT_DIR", "SINGLEPOINT_PROGRESS_FILE", "SINGLEPOINT_ERROR_FILE"} < told.keys()
    assert {"SINGLEPOINT_STOP_FILE", "PATH"} < told.keys()


def test_a_command_sees_the_graphics_processors_that_it_was_granted_and_no_others(maker: Maker) -> None:
    job = made(maker, "echo [$CUDA_VISIBLE_DEVICES] [$HIP_VISIBLE_DEVICES]", resources={"counted": {"gpu": 2}})
    assert "[0,1] [0,1]\n" in log_of(maker, job)
    assert devices({"gpu": ()}) == {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    assert devices({}) == {}, "nobody counts them here"


def test_the_secrets_of_whoever_submits_are_nowhere_but_in_one_file(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "their-secret")
    job_id = shell(maker, "env; exit 1", env={"TOKEN": "given-secret"})
    environment = maker.home.job_files(job_id).environment
    assert environment.stat().st_mode & 0o777 == 0o600
    assert "given-secret" in environment.read_text()
    assert "their-secret" not in environment.read_text()

    job = maker.make(job_id)

    assert "AWS_SECRET_ACCESS_KEY" not in log_of(maker, job)
    shown = b"".join(path.read_bytes() for path in maker.home.job(job_id).iterdir() if path.is_file())
    stored = maker.store.spec(job_id) + maker.store.history(job_id)
    assert b"their-secret" not in shown
    assert b"given-secret" not in stored


def test_a_failure_is_told_by_the_command_itself(maker: Maker) -> None:
    job = made(maker, "echo the disk of the scanner is full > $SINGLEPOINT_ERROR_FILE; exit 3")
    assert (job.state, job.reason) == (State.FAILED, "the disk of the scanner is full")

    job = made(maker, "exit 3")
    assert job.reason == "exit status 3"
    assert job.attempts[-1].end == "failed"


def test_a_command_that_breaks_its_own_process_has_crashed_and_one_killed_from_outside_runs_again(maker: Maker) -> None:
    crashed = made(maker, "kill -SEGV $$")
    killed = made(maker, "kill -KILL $$", retries=0)

    assert (crashed.state, crashed.attempts[-1].end) == (State.FAILED, "crashed")
    assert (killed.state, killed.attempts[-1].end) == (State.PENDING, "killed")


def test_progress_and_metrics_by_file(maker: Maker) -> None:
    script = """
    echo '{"step": 1, "total": 4, "epoch": 1, "loss": 0.5}' >> $SINGLEPOINT_PROGRESS_FILE
    echo 'no such line' >> $SINGLEPOINT_PROGRESS_FILE
    echo '{"step": 2, "metrics": {"auc": 0.75}}' >> $SINGLEPOINT_PROGRESS_FILE
    """
    job = made(maker, script)

    assert job.metrics == {"loss": 0.5, "auc": 0.75}
    lines = [json.loads(line) for line in maker.home.job_files(job.id).metrics.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 1), (1, 2)]
    assert job.attempts[-1].steps == 2


def test_progress_and_metrics_out_of_what_it_prints(maker: Maker) -> None:
    job = made(maker, "printf 'epoch=1 step=5 loss=0.25\\rstep=6 loss=0.125 accuracy: 0.9\\n'", progress="stdout")

    assert job.metrics == {"loss": 0.125, "accuracy": 0.9}
    assert job.attempts[-1].steps == 6


def test_asked_to_stop_it_is_told_by_file_and_signal_and_success_then_is_none(maker: Maker) -> None:
    script = "trap 'test -f $SINGLEPOINT_STOP_FILE && echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    job_id = shell(maker, script)
    pid = maker.begin(job_id)
    until(lambda: "up\n" in log_of(maker, maker.store.load(job_id)), "its start")
    ask(maker, job_id, Ask.PREEMPT)

    job = maker.oversee(job_id, pid)

    assert "asked\n" in log_of(maker, job)
    assert (job.state, job.attempts[-1].end) == (State.PENDING, "preempted")


def test_one_that_had_finished_all_the_same_says_so(maker: Maker) -> None:
    script = "trap 'touch $SINGLEPOINT_OUTPUT_DIR/.done; exit 0' TERM; echo up; echo x > $SINGLEPOINT_OUTPUT_DIR/x; "
    job_id = shell(maker, script + "while :; do sleep 0.01; done")
    pid = maker.begin(job_id)
    until(lambda: "up\n" in log_of(maker, maker.store.load(job_id)), "its start")
    ask(maker, job_id, Ask.PREEMPT)

    job = maker.oversee(job_id, pid)

    assert job.state is State.SUCCEEDED
    assert job.result is not None and job.result["files"] == 1


def test_one_that_ignores_the_request_is_killed_with_all_it_started_after_the_grace(maker: Maker) -> None:
    script = "trap '' TERM; sleep 600 & setsid sleep 601 & echo $! > pids; echo up; wait; sleep 602"
    maker.be_impatient()
    job_id = shell(maker, script)
    pid = maker.begin(job_id)
    until(lambda: "up\n" in log_of(maker, maker.store.load(job_id)), "its start")
    ask(maker, job_id, Ask.CANCEL)

    job = maker.oversee(job_id, pid)

    assert job.state is State.CANCELLED
    assert ends(int((maker.directory / "pids").read_text()))


DAEMON = f"""
{sys.executable} -c '
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open("daemon", "w").write(str(os.getpid()))
for fd in range(20):
    try: os.close(fd)
    except OSError: pass
time.sleep(600)
'
while [ ! -s daemon ]; do sleep 0.01; done
"""


def test_nothing_that_a_command_started_outlives_its_attempt(maker: Maker) -> None:
    job = made(maker, DAEMON)

    assert job.state is State.SUCCEEDED
    assert ends(int((maker.directory / "daemon").read_text()))


def test_nor_does_it_when_the_attempt_is_killed(maker: Maker) -> None:
    job_id = shell(maker, DAEMON + "\necho up; sleep 600")
    pid = maker.begin(job_id)
    until(lambda: "up\n" in log_of(maker, maker.store.load(job_id)), "its start")
    os.kill(pid, signal.SIGKILL)

    job = maker.oversee(job_id, pid)

    assert (job.state, job.attempts[-1].end) == (State.PENDING, "killed")
    assert ends(int((maker.directory / "daemon").read_text()))


def test_a_command_goes_on_from_what_it_saved(maker: Maker) -> None:
    script = """
    n=$(cat $SINGLEPOINT_CHECKPOINT_DIR/n 2>/dev/null || echo 0)
    echo attempt $SINGLEPOINT_ATTEMPT restarts $SINGLEPOINT_RESTARTS from $n
    n=$((n + 1)); echo $n > $SINGLEPOINT_CHECKPOINT_DIR/n
    [ $n -ge 3 ] || exit 85
    """
    job_id = shell(maker, script)

    jobs = [maker.make(job_id) for _ in range(3)]

    assert [job.state for job in jobs] == [State.PENDING, State.PENDING, State.SUCCEEDED]
    assert [attempt.end for attempt in jobs[-1].attempts] == ["restart", "restart", "succeeded"]
    assert jobs[1].failures == 0
    assert "attempt 3 restarts 2 from 2" in log_of(maker, jobs[-1])
    assert not maker.home.job_files(job_id).checkpoints.exists()


def test_one_that_asks_to_be_run_again_and_gets_nowhere_waits_longer_and_longer_and_then_fails(maker: Maker) -> None:
    job_id = shell(maker, "exit 85")

    waits = []
    for _ in range(8):
        job = maker.make(job_id)
        waits.append(round(max(0.0, job.not_before - (job.attempts[-1].ended_at or 0.0))))

    assert waits[:7] == [0, 0, 1, 2, 4, 8, 16]
    assert (job.state, job.reason) == (
        State.FAILED,
        "asked 8 times in a row to be run again, without any progress",
    )


def test_the_output_is_published_once_whatever_dies_in_between(maker: Maker) -> None:
    target = maker.directory / "results"
    job_id = shell(maker, "echo ran >> runs; echo x > $SINGLEPOINT_OUTPUT_DIR/x", output=str(target))
    assert maker.make(job_id, "publish.output:kill").state is State.PENDING
    assert not target.exists()
    assert maker.make(job_id, "settle:kill").state is State.PENDING
    assert (target / "x").exists()

    job = maker.make(job_id)

    assert job.state is State.SUCCEEDED
    assert (maker.directory / "runs").read_text() == "ran\nran\n"
    assert sorted(path.name for path in maker.directory.iterdir() if "results" in path.name) == ["results"]


@pytest.mark.parametrize(
    "place",
    [
        *("claim", "history.claim", "output.sync", "history.record", "publish.output", "settle"),
        *("history.succeed", "index.tell@2", "metrics.cut.rename", "metrics.write"),
    ],
)
def test_wherever_its_attempt_dies_a_command_ends_in_the_same_result(maker: Maker, place: str) -> None:
    script = """
    n=$(cat $SINGLEPOINT_CHECKPOINT_DIR/n 2>/dev/null || echo 0); n=$((n + 1))
    echo '{"step": 1, "loss": 0.5}' >> $SINGLEPOINT_PROGRESS_FILE
    mkdir $SINGLEPOINT_OUTPUT_DIR/d; echo same > $SINGLEPOINT_OUTPUT_DIR/d/x
    """
    calm = made(maker, script)
    job_id = shell(maker, script)
    maker.make(job_id, f"{place}:kill")

    while (job := maker.store.load(job_id)).state is State.PENDING:
        job = maker.make(job_id)

    assert job.state is State.SUCCEEDED, (place, job.reason)
    assert job.result is not None and calm.result is not None
    assert (job.result["sha256"], job.metrics) == (calm.result["sha256"], calm.metrics)
    assert sorted(path.name for path in (maker.home.outputs / "c").iterdir()) == ["1", "2"]
    assert {path.name for path in maker.home.job(job_id).iterdir()} == {
        *("spec.json", "history.jsonl", "history.lock", "lock", "log.txt", "metrics.jsonl", "progress.json")
    }


def test_an_output_that_is_there_meanwhile_is_not_touched(maker: Maker) -> None:
    target = maker.directory / "results"
    job_id = shell(maker, "mkdir results; echo mine > results/mine", output=str(target))

    job = maker.make(job_id)

    assert job.state is State.FAILED
    assert "not empty" in (job.reason or "")
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_other_inputs_refuse_to_go_on(maker: Maker) -> None:
    data = maker.directory / "rows"
    data.write_text("1")
    job_id = shell(maker, "exit 85", inputs=["rows"])
    maker.make(job_id)
    data.write_text("2")

    job = maker.make(job_id)

    assert job.state is State.FAILED
    assert f"input_sha256[{data}]" in (job.reason or "")


def test_a_long_log_keeps_its_beginning_and_its_end(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo first; head -c 30000000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo last"

    job = made(maker, script)

    text = log_of(maker, job)
    assert len(text) <= job_log.LIMIT_BYTES + 2**21
    assert "first\n" in text and "... lines were cut here ...\n" in text and "last\n" in text
    assert text.index("first") < text.index("lines were cut") < text.index("last\n")


def test_a_paused_command_stands_still_and_keeps_its_memory(maker: Maker) -> None:
    job_id = shell(maker, "echo up; i=0; while :; do i=$((i+1)); echo $i > count; done")
    pid = maker.begin(job_id)
    count = maker.directory / "count"
    until(count.exists, "its start")
    ask(maker, job_id, Ask.PAUSE)
    until(lambda: maker.store.load(job_id).paused, "the pause")
    before = count.read_text()
    time.sleep(0.1)
    assert count.read_text() == before

    terms = maker.store.load(job_id).attempts[-1].terms
    maker.store.note(job_id, Note.RESUME, now())
    granted = {**terms.to_json(), "cores": [min(os.sched_getaffinity(0))], "revision": terms.revision + 1}
    maker.store.note(job_id, Note.REVISE, now(), attempt=1, terms=granted)
    until(lambda: count.read_text() not in ("", before), "that it goes on")
    ask(maker, job_id, Ask.CANCEL)
    job = maker.oversee(job_id, pid)

    assert job.state is State.CANCELLED
    usage = job.attempts[-1].usage
    assert usage is not None and usage.pauses == 1 and 0 < usage.pause_s < 60


def test_a_command_that_runs_too_long_is_asked_to_stop_and_that_is_its_own_fault(maker: Maker) -> None:
    job = made(maker, "trap 'exit 0' TERM; while :; do sleep 0.01; done", time_limit_s=0.3)

    assert (job.state, job.attempts[-1].end) == (State.FAILED, "time_limit")


def test_a_program_that_is_not_there_fails_at_once(maker: Maker) -> None:
    job_id = maker.submit({**COMMAND, "command": ["no-such-program"]}, retries=5)

    job = maker.make(job_id)

    assert job.state is State.FAILED
    assert job.reason is not None and "no-such-program" in job.reason


def test_a_command_that_asks_its_own_worker_to_stop_has_to_wait_before_it_does_so_again_and_again(maker: Maker) -> None:
    job_id = shell(maker, "kill -TERM $PPID; sleep 1")
    jobs = [maker.make(job_id) for _ in range(3)]

    assert [job.state for job in jobs] == [State.PENDING] * 3
    assert [attempt.end for attempt in jobs[-1].attempts] == ["drained"] * 3
    assert jobs[2].not_before > jobs[2].attempts[-1].ended_at
