"""Faults one at a time, each real: a process stopped, Redis away, the disk full, a request while things go wrong.

Every test says what was disturbed; the claim is nearly always that the end is the same.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from singlepoint.jobs.broker.embedded import answers
from singlepoint.jobs.host.processes import started
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State

from .machine import Machine, wait_until, write_training


def sha256(job: Job) -> str:
    """The digest of a training's weights; it must have succeeded."""
    assert job.state is State.SUCCEEDED and job.result is not None, job
    return str(job.result["sha256"])


def epochs(machine: Machine, job_id: str) -> list[int]:
    lines = (machine.home.job(job_id) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["epoch"] for line in lines]


# --- zombies -----------------------------------------------------------------------------------------------------


def test_a_stopped_attempt_keeps_its_job_and_goes_on_when_it_wakes(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    with machine.held_training("asleep") as job_id:
        other = machine.finished(machine.train("meanwhile", epochs=2))  # so the scheduler has looked, and decided
        assert other.state is State.SUCCEEDED
        assert (machine.job(job_id).state, machine.job(job_id).attempt) == (State.RUNNING, 1)
    job = machine.finished(job_id)
    assert (sha256(job), len(job.attempts)) == (undisturbed, 1)


def test_an_attempt_that_lost_its_lock_and_wakes_beside_its_successor_writes_nothing(
    shared_machine: Machine, undisturbed: str
) -> None:
    machine = shared_machine
    with (
        machine.held_training("zombie") as job_id,
        machine.stopped(machine.worker_pid(job_id)),  # which would kill a replaced child before it could wake
    ):
        zombie = machine.child_pid(job_id)
        machine.store.lock_path(job_id).unlink()
        machine.wait(job_id, lambda job: job.attempt == 2 and job.state is State.RUNNING)
        os.kill(zombie, signal.SIGCONT)
        wait_until(lambda: started(zombie) is None, lambda: f"the zombie lives on\n{machine.tail()}")
        job = machine.finished(job_id)
    assert sha256(job) == undisturbed
    assert [attempt.end for attempt in job.attempts] == ["killed", "succeeded"]
    assert epochs(machine, job_id) == list(range(1, 401))
    assert "attempt_superseded attempt=1" in (machine.home.job(job_id) / "log.txt").read_text()


# --- Redis -------------------------------------------------------------------------------------------------------


def test_work_goes_on_and_ends_while_redis_is_away(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    with machine.held_training("running") as running:
        waiting = [machine.train(f"waiting{n}", epochs=3) for n in range(3)]
        with machine.without_redis():
            machine.wake(running)
            ended = machine.finished(running)  # on disk, though nobody can be told
            for command in (("ps",), ("submit", "train", "running.toml"), ("cancel", waiting[-1])):
                told = machine.run(*command, check=False)
                assert told.returncode == 69 and "Redis" in told.stderr, (command, told)
            assert running in machine.run("ps", "-a", check=False).stdout
    assert (sha256(ended), len(ended.attempts)) == (undisturbed, 1)
    jobs = [machine.finished(job_id) for job_id in waiting]
    assert {(job.state, len(job.attempts)) for job in jobs} == {(State.SUCCEEDED, 1)}
    told_states = {row["id"]: row["state"] for row in json.loads(machine.run("ps", "-a", "--json").stdout)["jobs"]}
    assert {told_states[job_id] for job_id in (running, *waiting)} == {"succeeded"}


def test_a_redis_that_is_killed_comes_back_at_once_and_nothing_is_done_twice(
    shared_machine: Machine, undisturbed: str
) -> None:
    machine = shared_machine
    ids = [machine.train(f"blip{n}") for n in range(3)]
    for _ in range(3):
        os.kill(machine.server_pid(), signal.SIGKILL)
        wait_until(lambda: answers(machine.home), machine.tail)
    jobs = [machine.finished(job_id) for job_id in ids]
    assert [(sha256(job), len(job.attempts)) for job in jobs] == [(undisturbed, 1)] * 3


def test_a_redis_that_hangs_holds_no_work_up(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    with machine.held_training("hung") as job_id, machine.stopped(machine.server_pid()):
        machine.wake(job_id)
        ended = machine.finished(job_id)
        assert machine.run("cancel", job_id, check=False).returncode == 69
    assert sha256(ended) == undisturbed
    assert sha256(machine.finished(machine.train("after", epochs=2)))


# --- its own fault -----------------------------------------------------------------------------------------------


def test_a_crash_of_the_child_is_told_from_a_kill(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    with machine.held_training("segv", retries=1) as job_id:
        os.kill(machine.child_pid(job_id), signal.SIGSEGV)
    job = machine.finished(job_id)
    assert (sha256(job), job.attempts[0].end, job.failures) == (undisturbed, "crashed", 1)
    shown = machine.run("show", job_id).stdout
    assert "SIGSEGV" in shown and "crashed" in shown


# --- requests ----------------------------------------------------------------------------------------------------


def test_a_paused_job_lends_its_cores_and_goes_on_in_the_same_weights(
    shared_machine: Machine, undisturbed: str
) -> None:
    machine = shared_machine
    with machine.held_training("paused") as paused:
        other = machine.train("other", epochs=100_000)
        machine.wait(other, lambda job: job.state is State.RUNNING)
        machine.ask("pause", paused)
    machine.wait(paused, lambda job: job.paused)
    assert sha256(machine.finished(machine.train("borrower", epochs=2)))
    assert machine.job(paused).state is State.RUNNING and machine.job(paused).paused
    machine.run("resume", paused)
    job = machine.finished(paused)
    machine.run("cancel", other)
    assert (sha256(job), len(job.attempts)) == (undisturbed, 1)
    machine.finished(other)


@pytest.mark.parametrize(("number", "end"), [(signal.SIGTERM, "drained"), (signal.SIGKILL, "killed")])
def test_a_paused_job_whose_worker_ends_stays_paused_and_goes_on_when_resumed(
    shared_machine: Machine, undisturbed: str, number: signal.Signals, end: str
) -> None:
    machine = shared_machine
    with machine.held_training(f"paused-{end}") as job_id:
        machine.ask("pause", job_id)
    machine.wait(job_id, lambda job: job.paused)
    os.kill(machine.worker_pid(job_id), number)
    job = machine.wait(job_id, lambda job: job.state is State.PENDING)
    assert (job.held, job.attempts[-1].end) == (True, end)
    machine.run("resume", job_id)
    assert sha256(machine.finished(job_id)) == undisturbed


def test_a_cancelled_job_that_does_not_answer_is_killed_after_the_grace_period(machine: Machine) -> None:
    machine.grace_s = 0.5
    machine.start()
    with machine.held_training("deaf") as job_id:
        machine.run("cancel", job_id)
        job = machine.finished(job_id)
    assert job.state is State.CANCELLED and "did not answer" in (job.attempts[-1].cause or "")


def test_a_drained_home_starts_nothing_and_hands_running_work_back(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    machine.run("drain", "--off")  # again: no harm
    with machine.held_training("handed-back") as running:
        machine.drain()
        machine.wait(running, lambda job: bool(job.asks))
    job = machine.wait(running, lambda job: job.state is State.PENDING)
    assert (job.attempts[-1].end, job.attempts[-1].lost_s) == ("drained", None) and job.attempts[-1].steps
    waiting = machine.train("accepted", epochs=2)
    for command in (("explain", running), ("ps",), ("doctor",)):
        assert "drain" in machine.run(*command).stdout, command
    os.kill(machine.pids("scheduler")[0], signal.SIGKILL)  # it is the home that is drained, not a process
    wait_until(lambda: machine.run("doctor", "--only", "scheduler", check=False).returncode == 0, machine.tail)
    assert {machine.job(job_id).state for job_id in (running, waiting)} == {State.PENDING}
    machine.run("drain", "--off")
    assert sha256(machine.finished(running)) == undisturbed
    assert machine.finished(waiting).state is State.SUCCEEDED


# --- the disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB; only root can have one."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("this machine: only root can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with open(path, "wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_disk_that_is_really_full_delays_work_and_loses_nothing(small_disk: Path, undisturbed: str) -> None:
    machine = Machine(small_disk, workers=1)
    try:
        machine.start()
        with machine.held_training("cramped") as job_id:
            fill(small_disk / "filler")
            # Redis may be gone already (69: it ends when it cannot write), or the client finds no room itself (75).
            refused = machine.run("submit", "train", "cramped.toml", check=False)
            assert refused.returncode in (69, 75), refused
        wait_until(lambda: not machine.store.is_being_worked_on(job_id), lambda: machine.job(job_id))
        (small_disk / "filler").unlink()
        job = machine.finished(job_id)
        assert sha256(job) == undisturbed
        assert len(job.attempts) > 1 and job.attempts[-1].first_step > 0
    finally:
        machine.stop()


def test_a_home_that_cannot_be_written_is_refused_with_the_remedy(small_disk: Path) -> None:
    machine = Machine(small_disk)
    write_training(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (("up",), ("submit", "train", "wdbc.toml"), ("ps",)):
        refused = machine.run(*command, check=False)
        assert refused.returncode == 77 and "--home" in refused.stderr, (command, refused)
