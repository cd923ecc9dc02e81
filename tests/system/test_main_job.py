"""The main job, end to end: submit, train, be killed, resume, predict; never over the budget."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise

import psutil
import pytest

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State

from .machine import SECOND_SAVE, SHORT_EPOCHS, Machine, wait_until, write_rows, write_training


def test_a_training_succeeds_and_its_model_predicts_a_file(shared_machine: Machine) -> None:
    machine = shared_machine
    training = machine.finished(machine.train("plain", epochs=50))
    assert training.state is State.SUCCEEDED and training.bit_identical is True
    assert training.metrics is not None and training.metrics["accuracy"] > 0.9
    write_rows(machine.directory / "rows.csv", repeats=2)
    output = machine.directory / "answers.csv"
    done = machine.run(
        "submit", "predict", "--model", "plain", "--input", "rows.csv", "--output", str(output), "--wait", "-q"
    )
    rows = list(csv.DictReader(output.open()))
    assert [int(row["id"]) for row in rows] == list(range(2 * 569))
    assert sum(row["predicted_diagnosis"] == row["diagnosis"] for row in rows) / len(rows) > 0.9
    assert float(rows[0]["p_benign"]) + float(rows[0]["p_malignant"]) == pytest.approx(1, abs=1e-6)
    assert machine.show(done.stdout.strip())["result"]["path"] == str(output)


def test_metrics_are_written_once_an_epoch(shared_machine: Machine) -> None:
    machine = shared_machine
    job = machine.finished(machine.train("epochs", epochs=20))
    lines = [json.loads(line) for line in (machine.home.job(job.id) / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 21))
    assert {"loss", "validation_loss", "accuracy", "step", "wall_s"} <= lines[0].keys()


def kill_child(machine: Machine, job_id: str) -> None:
    os.kill(machine.child_pid(job_id), signal.SIGKILL)


def kill_worker(machine: Machine, job_id: str) -> None:
    kill_above(machine, job_id, machine.worker_pid(job_id))


def kill_pool(machine: Machine, job_id: str) -> None:
    kill_above(machine, job_id, machine.pids("worker")[0])


def kill_above(machine: Machine, job_id: str, pid: int) -> None:
    """Kill what an attempt is below, and wait for its end: let go on before that, it might be done first."""
    attempt = machine.child_pid(job_id)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(attempt), machine.tail)


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_scheduler(machine: Machine, _job_id: str) -> None:
    os.kill(machine.pids("scheduler")[0], signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_child, kill_worker, kill_pool, kill_scheduler])
def test_a_killed_training_ends_in_the_same_weights(
    shared_machine: Machine, undisturbed: str, kill: Callable[[Machine, str], None]
) -> None:
    machine = shared_machine
    with machine.held_training(kill.__name__) as job_id:
        kill(machine, job_id)
    job = machine.finished(job_id)
    assert job.state is State.SUCCEEDED and job.bit_identical is True, job
    assert job.result is not None and job.result["sha256"] == undisturbed
    expected = 1 if kill is kill_scheduler else 2
    assert len(job.attempts) == expected, job.attempts
    assert job.attempts[0].end == ("succeeded" if kill is kill_scheduler else "killed")
    assert kill is kill_scheduler or job.attempts[1].first_step > 0, "the checkpoint was not used"


def test_a_job_killed_again_and_again_ends_in_the_same_weights(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    with machine.held_training("again") as job_id:
        for number, kill in enumerate((kill_child, kill_worker), 2):
            with machine.failing(SECOND_SAVE, "stop"):
                kill(machine, job_id)
                machine.wait_until_it_stops(job_id, attempt=number)
        kill_child(machine, job_id)
    job = machine.finished(job_id)
    assert job.result is not None and job.result["sha256"] == undisturbed
    begun_at = [attempt.first_step for attempt in job.attempts]
    assert len(begun_at) == 4 and all(a < b for a, b in pairwise(begun_at)), "none of them began where another had"


def test_a_killed_prediction_writes_every_row_once(shared_machine: Machine) -> None:
    machine = shared_machine
    machine.finished(machine.train("scorer", epochs=20))
    write_rows(machine.directory / "many.csv", repeats=100)
    arguments = ("predict", "--model", "scorer", "--input", "many.csv", "--output")
    calm = machine.finished(machine.submit(*arguments, "calm.csv"))
    with machine.held(lambda: machine.submit(*arguments, "disturbed.csv"), "shard.write@5") as disturbed:
        kill_child(machine, disturbed)
    job = machine.finished(disturbed)
    assert len(job.attempts) == 2 and job.result is not None and calm.result is not None
    assert job.result["sha256"] == calm.result["sha256"]
    assert (machine.directory / "disturbed.csv").read_bytes() == (machine.directory / "calm.csv").read_bytes()


def reserved(jobs: list[Job]) -> int:
    """The most that was granted at any instant, in thousandths of a core, from the histories."""
    changes: list[tuple[float, int]] = []
    for job in jobs:
        for attempt in job.attempts:
            assert attempt.ended_at is not None
            changes += [
                (attempt.dispatched_at, attempt.terms.resources.cpu_millis),
                (attempt.ended_at, -attempt.terms.resources.cpu_millis),
            ]
    most = total = 0
    for _, change in sorted(changes):
        total += change
        most = max(most, total)
    return most


def test_two_hundred_jobs_at_once_stay_within_two_cores(shared_machine: Machine) -> None:
    from singlepoint import submit

    machine = shared_machine
    spec = write_training(machine.directory, name="tiny", epochs=1)
    ids = [submit(machine.directory / spec, home=machine.home.path) for _ in range(200)]
    deadline = time.monotonic() + 240  # for all together: what ends the run must not come first
    jobs = [machine.finished(job_id, timeout_s=max(1, deadline - time.monotonic())) for job_id in ids]
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    assert reserved(jobs) == 2000
    starts = [job.attempts[0].dispatched_at for job in jobs]
    assert all(a <= b for a, b in pairwise(starts)), "first come, first served"
    listed = json.loads(machine.run("ps", "--json").stdout)["jobs"]
    assert not [row for row in listed if row["id"] in set(ids) and row["state"] not in ("succeeded",)]
    wait_until(lambda: queued(machine) == 0, lambda: queued(machine))


def queued(machine: Machine) -> int:
    """Entries that rq still has in a queue or at work."""
    import redis
    from rq.queue import Queue

    connection = redis.Redis(unix_socket_path=str(machine.home.redis / "redis.sock"))
    return sum(queue.count + queue.started_job_registry.count for queue in Queue.all(connection=connection))


def test_a_drained_worker_hands_its_job_back_and_it_goes_on(machine: Machine, undisturbed: str) -> None:
    machine.start()
    with machine.held_training("wdbc") as job_id:
        machine.drain_workers(job_id)
    machine.wait_for_its_end()
    job = machine.job(job_id)
    assert job.state is State.PENDING and job.attempts[-1].end == "drained"
    machine.start()
    job = machine.finished(job_id)
    assert job.result is not None and job.result["sha256"] == undisturbed
    assert job.attempts[-1].first_step == job.attempts[0].steps, "no step is done twice"


def test_a_cancelled_training_stops_and_can_be_retried(shared_machine: Machine, undisturbed: str) -> None:
    machine = shared_machine
    with machine.held_training("cancelled") as job_id:
        machine.ask("cancel", job_id)
    assert machine.finished(job_id).state is State.CANCELLED
    machine.run("retry", job_id)
    job = machine.finished(job_id)
    assert job.result is not None and job.result["sha256"] == undisturbed


def test_all_of_redis_is_wiped_and_every_job_is_still_known_and_ends(machine: Machine, undisturbed: str) -> None:
    import redis

    machine.start()
    done = machine.train("done", epochs=2)
    machine.finished(done)
    bad = machine.train("stopped", epochs=100_000)
    machine.wait(bad, lambda job: job.state is State.RUNNING)
    machine.run("cancel", bad)
    machine.finished(bad)
    with machine.held_training("run0") as first, machine.held_training("run1") as second:
        running = [first, second]
        waiting = machine.train("waiting", epochs=3)
        redis.Redis(unix_socket_path=str(machine.home.redis / "redis.sock")).flushall()
    known = wait_until(
        lambda: (rows := json.loads(machine.run("ps", "-a", "--json").stdout)["jobs"]) and len(rows) == 5 and rows,
        lambda: machine.run("ps", "-a", "--json").stdout,
    )
    assert {row["id"] for row in known} == {done, bad, *running, waiting}
    for job_id in (*running, waiting):
        assert machine.finished(job_id).state is State.SUCCEEDED
    assert {machine.job(job_id).result["sha256"] for job_id in running} == {undisturbed}  # type: ignore[index]
    assert all(len(machine.job(job_id).attempts) == 1 for job_id in running)


WRITES = [
    "queue.push",
    "index.tell",
    "claim",
    "history.claim",
    "checkpoint.write",
    "checkpoint.rename",
    "model.weights",
    "publish.model",
    "settle",
    "history.succeed",
    "history.dispatch",
]


@pytest.mark.parametrize("write", WRITES)
def test_a_process_killed_before_this_write_changes_nothing_in_the_end(
    shared_machine: Machine, undisturbed_short: str, write: str
) -> None:
    machine = shared_machine
    name = write.replace(".", "-")
    with machine.failing(write, "kill"):
        job = machine.finished(machine.train(name, epochs=SHORT_EPOCHS, checkpoint_interval_s=0.05))
    assert job.state is State.SUCCEEDED and job.result is not None, job
    assert job.result["sha256"] == undisturbed_short
    assert len(list((machine.home.models / name).iterdir())) == 1
