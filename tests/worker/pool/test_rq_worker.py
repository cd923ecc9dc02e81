"""What the rq worker does for an attempt besides rq: at its end, and at the worker's own."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.timeouts import HorseMonitorTimeoutException

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.broker.rq_names import FUNCTION
from singlepoint.worker.attempt import pipeline
from singlepoint.worker.ground.process import die_with
from singlepoint.worker.pool import rq_worker
from singlepoint.worker.pool.rq_worker import AttemptJob, AttemptWorker
from singlepoint.worker.pool.watch import Watch
from tests.worker.making import Maker


class Watched(Watch):
    """Finds nothing wrong, at three looks at most, and keeps the end."""

    status: int | None = None
    looks = 0

    def must_die(self, pid: int) -> bool:
        self.looks += 1
        assert self.looks <= 3, "looked on and on"
        return False

    def ended(self, status: int, rusage: Any = None) -> None:
        self.status = status


def make_worker(directory: Path, connection: redis.Redis | None = None) -> AttemptWorker:
    """A worker whose index is over a Redis that is away; its own connection is `connection`."""
    maker = Maker(directory)
    server = fakeredis.FakeServer()
    server.connected = False
    place = replace(maker.place, index=Index(fakeredis.FakeRedis(server=server), maker.home.uuid))
    worker = AttemptWorker(
        ["q"], name="w", connection=connection or fakeredis.FakeRedis(), place=place, serializer=JSONSerializer
    )
    worker._watch = Watched(place, "j", 1)
    return worker


def test_the_end_of_a_worker_does_not_wait_for_a_redis_that_is_away(tmp_path: Path) -> None:
    patient = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, patient)
    worker.register_birth()  # type: ignore[no-untyped-call]
    never_again(patient)

    worker.teardown()


def never_again(patient: redis.Redis) -> None:
    """From here on whoever uses this connection would wait for long."""
    patient.execute_command = patient.pipeline = lambda *_, **__: pytest.fail("it would wait here")  # type: ignore


def a_job(connection: redis.Redis) -> AttemptJob:
    return AttemptJob.create(FUNCTION, ("j", 1), id="j_1", connection=connection, serializer=JSONSerializer)


def execution_of(worker: AttemptWorker, job: AttemptJob) -> Execution:
    with worker.connection.pipeline() as pipe:
        execution = Execution.create(job, 60, pipe)
        pipe.execute()
    return execution


def test_a_worker_that_was_asked_to_stop_tells_a_redis_that_is_away_nothing_of_its_last_attempt(
    tmp_path: Path,
) -> None:
    patient = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, patient)
    job = a_job(patient)
    execution = execution_of(worker, job)
    worker._stop_requested = True
    kill(child(worker))
    never_again(patient)

    with pytest.raises(StopRequested):
        worker.monitor_work_horse(job, Queue("q", connection=patient), execution)


def test_the_child_has_nothing_to_tell_rq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = fakeredis.FakeRedis()
    worker, job = make_worker(tmp_path, patient), a_job(patient)
    execution, made = execution_of(worker, job), []
    monkeypatch.setattr(pipeline, "perform", lambda *attempt: made.append(attempt) or "succeeded")
    never_again(patient)
    assert worker.perform_job(job, worker.queues[0], execution) and made == [("j", 1)]


def test_an_attempt_that_raises_is_told_in_the_log_and_the_watch_sees_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make_worker(tmp_path)
    job = a_job(worker.connection)
    monkeypatch.setattr(pipeline, "perform", lambda *_: 1 / 0)
    assert not worker.perform_job(job, worker.queues[0], execution_of(worker, job))
    assert "attempt_not_made id=j_1" in caplog.text and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("signalled", [True, False])
def test_an_attempt_that_ended_leaves_nothing_in_rq_and_wakes_the_scheduler(tmp_path: Path, signalled: bool) -> None:
    connection = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, connection)
    [queue] = worker.queues
    connection.rpush(queue.intermediate_queue_key, "j_1")
    job = a_job(connection)
    job.save()
    before = set(connection.keys())

    execution = worker.prepare_execution(job)
    assert job.started_job_registry.get_job_ids(cleanup=False) == ["j_1"] and worker.get_state() == "busy"
    assert not connection.exists(queue.intermediate_queue_key)
    ended(worker, signalled)
    worker.monitor_work_horse(job, queue, execution)

    bell = worker._place.index.key("bell").encode()
    assert set(connection.keys()) - before == {bell, worker.key.encode()} and not connection.exists(job.key)
    assert connection.lrange(bell, 0, -1) == [b"j"] and worker.get_state() == "idle"


def ended(worker: AttemptWorker, signalled: bool) -> None:
    """Give the worker a child that has ended."""
    if signalled:
        kill(child(worker))
    else:
        worker._horse_pid = os.fork()
        if worker._horse_pid == 0:
            os._exit(0)


def test_a_worker_that_is_busy_with_short_attempts_tells_that_it_lives_now_and_then(tmp_path: Path) -> None:
    connection = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, connection)
    worker.register_birth()  # type: ignore[no-untyped-call]
    worker.heartbeat()
    never_again(connection)
    worker.heartbeat()
    worker.set_state(worker.get_state())


def test_a_worker_that_redis_lost_is_known_again_at_its_next_heartbeat(tmp_path: Path) -> None:
    connection = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, connection)
    worker.register_birth()  # type: ignore[no-untyped-call]
    connection.flushall()
    worker.heartbeat()
    assert connection.hget(worker.key, "birth") and connection.smembers("rq:workers") == {worker.key.encode()}


def child(worker: AttemptWorker) -> int:
    """Give the worker a child, in a group of its own, that waits to be killed."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with(parent)
        os.setpgrp()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        while True:
            signal.pause()
    worker._horse_pid = pid
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_the_group_of_a_child_is_killed_while_the_child_still_holds_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, held = make_worker(tmp_path), []
    pid = child(worker)
    kill(pid)
    monkeypatch.setattr(
        rq_worker, "kill_group", lambda pgid: held.append(os.waitid(os.P_PID, pgid, os.WEXITED | os.WNOWAIT))
    )

    worker.wait_for_horse()

    assert len(held) == 1


def test_rqs_alarm_does_not_interrupt_the_record_of_a_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(tmp_path)
    pid = child(worker)
    kill(pid)

    def no_alarm(_watch: Watch, _status: int) -> None:
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0, "it may go off in the middle of this"

    monkeypatch.setattr(Watched, "ended", no_alarm)
    with worker.death_penalty_class(30, HorseMonitorTimeoutException):
        assert worker.wait_for_horse()[0] == pid


def test_a_heartbeat_is_due_between_two_looks_at_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(tmp_path)
    monkeypatch.setattr(worker, "job_monitoring_interval", 0)
    monkeypatch.setattr(rq_worker, "WATCH_S", 0)
    pid = child(worker)
    try:
        with pytest.raises(HorseMonitorTimeoutException):
            worker.wait_for_horse()
    finally:
        kill(pid)
    assert worker.wait_for_horse()[0] == pid
    assert isinstance(worker._watch, Watched) and worker._watch.status == signal.SIGKILL


# --- what Redis may say ------------------------------------------------------------------------------------------


def poisoned(connection: redis.Redis, name: str = FUNCTION, entry: str = "j_1", **fields: str) -> AttemptJob:
    """An entry of rq's as somebody who can write to Redis would leave it."""
    job = AttemptJob.create(name, ("j", 1), id=entry, connection=connection, serializer=JSONSerializer)
    job.save()
    connection.hset(job.key, mapping={"success_callback_name": "os.abort", **fields})
    return AttemptJob.fetch(entry, connection=connection, serializer=JSONSerializer)


def test_no_callback_that_redis_names_is_ever_imported_or_called() -> None:
    names = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
    job = poisoned(fakeredis.FakeRedis(), **dict.fromkeys(names, "a_module_nobody_has.f"))
    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)


@pytest.mark.parametrize(("name", "entry"), [("os.getpid", "j_1"), (FUNCTION, "k_1"), (FUNCTION, "j_2")])
def test_only_one_function_is_called_and_only_with_what_the_id_says(name: str, entry: str) -> None:
    with pytest.raises(ValueError, match="is ever called"):
        poisoned(fakeredis.FakeRedis(), name, entry)._execute()


@pytest.mark.parametrize("entry", [b"../../x_1", b"abc", b"j_-1", b"j_01", b"\xff\xfe_1", b"k_1"])
def test_a_worker_drops_what_it_cannot_read_and_takes_the_next(tmp_path: Path, entry: bytes) -> None:
    connection = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, connection)
    [queue] = worker.queues
    connection.hset(b"rq:job:" + entry, mapping={"data": "x", "created_at": "long ago", "origin": "q"})
    a_job(connection).save()
    connection.rpush(queue.key, entry, "j_1")
    setattr(
        connection, "__rq_redis_server_version", (7, 0, 0)
    )  # fakeredis says nothing of it, and rq must move, not pop
    job, _ = worker.queue_class.dequeue_any(worker.queues, None, connection, AttemptJob, JSONSerializer)
    assert job.id == "j_1" and connection.lrange(queue.intermediate_queue_key, 0, -1) == [b"j_1"]


def test_an_entry_that_is_no_attempt_is_never_executed(tmp_path: Path) -> None:
    connection = fakeredis.FakeRedis()
    worker = make_worker(tmp_path, connection)
    [queue] = worker.queues
    connection.rpush(queue.intermediate_queue_key, "abc")
    worker.execute_job(poisoned(connection, entry="abc"), queue)
    assert connection.llen(queue.intermediate_queue_key) == 0
