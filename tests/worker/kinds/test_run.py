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
from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Ask, Author, Event, State
from singlepoint.jobs.spec.file import parse_document
from singlepoint.jobs.spec.job import RunSpec
from singlepoint.worker.ground import job_log
from singlepoint.worker.kinds import run
from singlepoint.worker.kinds.run import check
from singlepoint.worker.programs.output_directory import summary
from singlepoint.worker.programs.told import MOST_JOB_METRICS, parse_text
from singlepoint.worker.programs.variables import devices
from tests.conftest import LONGEST_S
from tests.worker.making import Maker, ends, stopped, woken

COMMAND = {"kind": "run", "name": "c"}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def shell(maker: Maker, script: str, **spec: Any) -> str:
    """A job that runs a line of the shell."""
    return maker.submit({**COMMAND, "command": script}, **spec)


def spec_of(maker: Maker, **spec: Any) -> RunSpec:
    checked = parse_document({**COMMAND, "command": "true", **spec}, maker.directory, "job")
    assert isinstance(checked, RunSpec)
    return checked


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


def test_a_command_ignores_no_signal_that_we_ignore(maker: Maker) -> None:
    def deaf() -> None:
        for ignored in (signal.SIGINT, signal.SIGUSR1):  # as a worker's child does
            signal.signal(ignored, signal.SIG_IGN)

    for name in ("INT", "USR1"):
        job_id = shell(maker, f"kill -{name} $$; sleep 0.1")
        job = maker.oversee(job_id, maker.begin(job_id, spoil=deaf))
        assert job.attempts[-1].cause == f"SIG{name}"


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


def test_a_signal_without_a_name_is_told_by_its_number(maker: Maker) -> None:
    job = made(maker, "kill -40 $$")
    assert (job.state, job.attempts[-1].end, job.attempts[-1].cause) == (State.PENDING, "killed", "signal 40")


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


def test_however_many_metrics_a_command_tells_of_its_history_stays_small(maker: Maker) -> None:
    lines = [{"step": step, "last": step, f"m{step}": 1} for step in range(1, 1001)]
    told = maker.directory / "told"
    told.write_text("".join(json.dumps(line) + "\n" for line in [{"n" * 30_000: 1, "step": 0}, *lines]))

    job = made(maker, f"cat {told} >> $SINGLEPOINT_PROGRESS_FILE")

    assert job.metrics is not None
    assert (len(job.metrics), job.metrics["last"]) == (MOST_JOB_METRICS, 1000)
    assert max(map(len, job.metrics)) < 10


def test_what_it_tells_last_is_heard_whatever_there_is_of_it(maker: Maker) -> None:
    script = """
    head -c 3000000 /dev/zero | tr '\\0' ' ' | fold -w 99 >> $SINGLEPOINT_PROGRESS_FILE
    printf '{"step": 9, "loss": 0.5}\\n{"step": 10, "loss": 0.25}' >> $SINGLEPOINT_PROGRESS_FILE
    """
    job = made(maker, script)
    assert (job.attempts[-1].steps, job.metrics) == (10, {"loss": 0.25})
    assert made(maker, "printf 'step=1\\nloss=0.25'", progress="stdout").metrics == {"loss": 0.25}
    assert not made(maker, "printf 'step=1\\nloss=0.2'; kill -KILL $$", progress="stdout").metrics


@pytest.mark.parametrize(
    "line",
    ["loss=" + "1" * 60_000 + "x", "loss=1." + "1" * 60_000 + "x", "loss=1e" + "1" * 60_000 + "x", "a=1" * 20_000],
)
def test_a_line_that_is_no_number_takes_no_longer_than_others(line: str) -> None:
    began_s = time.process_time()
    assert parse_text(line) is None
    assert time.process_time() - began_s < 1


@pytest.mark.parametrize("number", ["1", "1.", "-1.5", ".5", "+1e3", "1.5E-3"])
def test_numbers_in_what_it_prints(number: str) -> None:
    told = parse_text(f"a: {number}, b={number}")
    assert told is not None and told.metrics == {"a": float(number), "b": float(number)}


def asked_once_up(maker: Maker, script: str, what: Ask) -> Job:
    """The job of a script that says `up` and then waits, after it was asked."""
    job_id = shell(maker, script)
    pid = maker.begin(job_id)
    until(lambda: "up\n" in log_of(maker, maker.store.load(job_id)), "its start")
    ask(maker, job_id, what)
    return maker.oversee(job_id, pid)


def test_asked_to_stop_it_is_told_by_file_and_signal_and_success_then_is_none(maker: Maker) -> None:
    script = "trap 'test -f $SINGLEPOINT_STOP_FILE && echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    job = asked_once_up(maker, script, Ask.PREEMPT)

    assert "asked\n" in log_of(maker, job)
    assert (job.state, job.attempts[-1].end) == (State.PENDING, "preempted")


@pytest.mark.parametrize(
    "spoiled",
    ["rm -r ${SINGLEPOINT_STOP_FILE%/*}", "mkfifo $SINGLEPOINT_STOP_FILE", "mkdir $SINGLEPOINT_STOP_FILE"],
)
def test_where_the_stop_file_cannot_be_written_it_is_asked_by_the_signal(maker: Maker, spoiled: str) -> None:
    script = f"trap 'echo asked; exit 0' TERM; {spoiled}; echo up; while :; do sleep 0.01; done"

    job = asked_once_up(maker, script, Ask.PREEMPT)

    assert "asked\n" in log_of(maker, job)
    assert (job.state, job.attempts[-1].end) == (State.PENDING, "preempted")


@pytest.mark.parametrize("name", ["PROGRESS", "ERROR"])
def test_a_pipe_where_a_file_is_awaited_keeps_nobody_waiting(maker: Maker, name: str) -> None:
    job = made(maker, f"mkfifo $SINGLEPOINT_{name}_FILE; sleep 0.1; exit 3")
    assert job.reason == "exit status 3"


def test_one_that_had_finished_all_the_same_says_so(maker: Maker) -> None:
    script = "trap 'touch $SINGLEPOINT_OUTPUT_DIR/.done; exit 0' TERM; echo up; echo x > $SINGLEPOINT_OUTPUT_DIR/x; "

    job = asked_once_up(maker, script + "while :; do sleep 0.01; done", Ask.PREEMPT)

    assert job.state is State.SUCCEEDED
    assert job.result is not None and job.result["files"] == 1


def test_one_that_ignores_the_request_is_killed_with_all_it_started_after_the_grace(maker: Maker) -> None:
    script = "trap '' TERM; sleep 600 & setsid sleep 601 & echo $! > pids; echo up; wait; sleep 602"
    maker.be_impatient()

    job = asked_once_up(maker, script, Ask.CANCEL)

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


@pytest.mark.parametrize("instead", ["touch $D", "ln -s nowhere $D"])
def test_what_a_command_puts_in_place_of_its_checkpoints_is_named_and_a_fresh_retry_removes_it(
    maker: Maker, instead: str
) -> None:
    script = "D=$SINGLEPOINT_CHECKPOINT_DIR; [ $SINGLEPOINT_ATTEMPT = 1 ] || exit 0; "
    job_id = shell(
        maker, f"{script}rm -r $D ${{SINGLEPOINT_STOP_FILE%/*}}; {instead}; touch $(dirname $D)/told; exit 85"
    )
    maker.make(job_id)

    job = maker.make(job_id)

    assert job.state is State.FAILED and f"{maker.home.job_files(job_id).checkpoints} is no directory" in job.reason
    maker.store.move(job_id, Event.RETRY, now(), fresh=True)
    assert maker.make(job_id).state is State.SUCCEEDED


@pytest.mark.parametrize("instead", ["true", "ln -s / $D", "touch $D"])
def test_an_output_directory_that_the_command_removed_is_told_in_plain_words(maker: Maker, instead: str) -> None:
    (maker.directory / "parent").mkdir()
    for output in (None, "results", "parent/results"):
        script = f"D=$SINGLEPOINT_OUTPUT_DIR; {'rm -r parent; exit 0;' if output == 'parent/results' else ''}"
        job = made(maker, f"{script} rm -r $D; {instead}", output=output)
        assert job.state is State.FAILED
        assert "output: the command removed" in (job.reason or "")


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


@pytest.mark.parametrize(
    "sign", ["touch $SINGLEPOINT_CHECKPOINT_DIR/$SINGLEPOINT_ATTEMPT", "true"], ids=["it saves, too", "it only tells"]
)
def test_one_whose_steps_begin_anew_with_each_epoch_gets_on(maker: Maker, sign: str) -> None:
    tell = """printf '{"epoch": 1, "step": 30}\\n{"epoch": 2, "step": 5}\\n' >> $SINGLEPOINT_PROGRESS_FILE"""
    job_id = shell(maker, f"{sign}; {tell}; exit 85")

    jobs = [maker.make(job_id) for _ in range(4)]

    assert {job.state for job in jobs} == {State.PENDING}
    assert not jobs[-1].not_before
    assert all((attempt.steps or 0) > 0 for attempt in jobs[-1].attempts)


def test_looking_for_what_it_saves_takes_little_time_and_misses_nothing(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_s, looks = 0.1, maker.directory / "looks"

    def newest(directory: Path) -> float:
        with open(looks, "a") as file:
            file.write("x")
        time.sleep(slow_s)
        return max((path.stat().st_mtime for path in directory.iterdir()), default=0.0)

    monkeypatch.setattr(run, "_newest", newest)
    job = made(maker, "sleep 1; touch $SINGLEPOINT_CHECKPOINT_DIR/late; exit 85")

    assert len(looks.read_text()) <= 3, "at its begin, once more, and at its end"
    assert job.attempts[-1].steps == 1


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


@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        ("mkdir results; echo mine > results/mine", "not empty"),
        ("echo mine > results", "no directory"),
        ("ln -s nowhere results", "no directory"),
    ],
)
def test_an_output_that_is_there_meanwhile_is_not_touched_and_what_was_made_is_kept(
    maker: Maker, meanwhile: str, said: str
) -> None:
    target = maker.directory / "results"
    job_id = shell(maker, f"{meanwhile}; echo x > $SINGLEPOINT_OUTPUT_DIR/x", output=str(target))

    job = maker.make(job_id)

    assert job.state is State.FAILED
    kept = maker.directory / f"results.{job_id}-1"
    assert said in (job.reason or "") and str(kept) in (job.reason or "")
    assert (kept / "x").read_text() == "x\n"
    assert target.is_symlink() or (target / "mine" if target.is_dir() else target).read_text() == "mine\n"


def test_an_output_that_no_directory_can_take_the_place_of_is_refused(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (maker.directory / "there").mkdir()
    for target in ("there", "nowhere"):
        link = maker.directory / f"link-to-{target}"
        link.symlink_to(target)
        with pytest.raises(InvalidInput, match=f"output: {link} is a symbolic link.*{maker.directory / target}"):
            check(spec_of(maker, output=link.name))
    monkeypatch.setattr(os.path, "ismount", lambda path: path == maker.directory / "there")
    with pytest.raises(InvalidInput, match=r"output: .*there is a mount point"):
        check(spec_of(maker, output="there"))


@pytest.mark.parametrize(
    ("dies_at", "changed"),
    [
        pytest.param("", {}, id="its attempt failed"),
        pytest.param("publish.output:kill", {"sha256": "other"}, id="other files are in it"),
    ],
)
def test_a_directory_with_the_inode_of_an_output_that_is_gone_is_not_that_output(
    maker: Maker, dies_at: str, changed: dict[str, str]
) -> None:
    target = maker.directory / "results"
    script = "echo ran >> runs; [ -e again ] || { touch again; mkdir results; touch results/mine; }"
    job_id = shell(maker, script + "; echo x > $SINGLEPOINT_OUTPUT_DIR/x", output=str(target))
    failed = maker.make(job_id, dies_at)
    target.rename(maker.directory / "away")
    target.mkdir()
    (target / "x").write_text("x\n")
    place = {"output": [target.stat().st_dev, target.stat().st_ino]}  # as a file system gives it that uses them again
    finished = {**failed.facts["finished"], **place, **changed}
    maker.store.note(job_id, Note.RECORD, now(), attempt=1, facts={"finished": finished})
    if failed.state is State.FAILED:
        maker.store.move(job_id, Event.RETRY, now())

    job = maker.make(job_id)

    assert (maker.directory / "runs").read_text() == "ran\nran\n", job.reason
    assert job.state is State.FAILED and "not empty" in (job.reason or "")


def test_other_inputs_refuse_to_go_on(maker: Maker) -> None:
    data = maker.directory / "rows"
    data.write_text("1")
    job_id = shell(maker, "exit 85", inputs=["rows"])
    maker.make(job_id)
    data.write_text("2")

    job = maker.make(job_id)

    assert job.state is State.FAILED
    assert f"input_sha256[{data}]" in (job.reason or "")


@pytest.mark.parametrize("link", ["link.csv", "folder"])
def test_nor_may_what_lies_behind_the_links_of_an_input_change(maker: Maker, link: str) -> None:
    data, target = maker.directory / "ds", maker.directory / "behind"
    data.mkdir()
    target.mkdir()
    (target / "t.csv").write_text("1")
    (data / link).symlink_to(target / "t.csv" if link == "link.csv" else target)
    (data / "nowhere").symlink_to("nothing")
    (data / "round").symlink_to(".")
    (target / "back").symlink_to(data)
    job_id = shell(maker, "exit 85", inputs=["ds"])
    assert [maker.make(job_id).state, maker.make(job_id).state] == [State.PENDING, State.PENDING]
    (target / "t.csv").write_text("2")

    job = maker.make(job_id)

    assert job.state is State.FAILED
    assert f"input_sha256[{data}]" in (job.reason or "")


def test_a_job_that_settled_on_an_input_before_links_were_followed_goes_on(maker: Maker) -> None:
    data = maker.directory / "ds"
    data.mkdir()
    (data / "link.csv").symlink_to("../wdbc.csv")
    job_id = shell(maker, "exit 85", inputs=["ds"])
    maker.make(job_id)
    maker.store.note(job_id, Note.RECORD, now(), attempt=1, facts={f"input_sha256[{data}]": summary(data)["sha256"]})
    assert maker.make(job_id).state is State.PENDING


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


@pytest.mark.parametrize("asked", [*(Ask.PREEMPT, Ask.CANCEL), "the time limit", "a drain"])
def test_one_that_has_ended_well_has_succeeded_whatever_but_a_cancel_is_asked_while_its_output_is_made_durable(
    maker: Maker, asked: Ask | str
) -> None:
    limit = {"time_limit_s": 2.0} if asked == "the time limit" else {}
    job_id = shell(maker, "echo x > $SINGLEPOINT_OUTPUT_DIR/x; echo y > $SINGLEPOINT_OUTPUT_DIR/y", **limit)
    pid = maker.begin(job_id, "output.sync@1:stop")
    stopped(pid)
    if isinstance(asked, Ask):
        ask(maker, job_id, asked)
    elif asked == "a drain":
        os.kill(pid, signal.SIGTERM)
    else:
        time.sleep(2.0)
    woken(pid)

    job = maker.store.load(job_id)

    assert job.state is (State.CANCELLED if asked is Ask.CANCEL else State.SUCCEEDED), job.reason


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
