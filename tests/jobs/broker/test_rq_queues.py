"""The index and rq's queues: told what is on disk, never the other way round. On fakeredis and a real server."""

from __future__ import annotations

import json

import pytest
import redis
from rq.job import Job as RqJob
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from singlepoint.jobs.broker import rq_queues
from singlepoint.jobs.broker.address import Broker
from singlepoint.jobs.broker.connection import connect_fleetingly
from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING, Index
from singlepoint.jobs.broker.rq_names import FUNCTION, parse_rq_id, rq_id
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import fill

UUID = "0123456789abcdef0123456789abcdef"


def a_job(store: JobStore) -> Job:
    return store.create(b"{}", {"name": "a", "kind": "train", "requests": Resources(1000, 1).to_json()}, 1.0)


def wait(queue: DispatchQueue, *job_ids: str) -> None:
    with queue.transaction() as pipe:
        for job_id in job_ids:
            queue.wait(job_id, 1, pipe)


def test_an_attempt_waits_is_on_its_way_and_is_gone_when_withdrawn(connection: redis.Redis) -> None:
    queue = DispatchQueue(connection, UUID)
    wait(queue, "abc")
    assert queue.waiting.job_ids == ["abc_1"] and queue.run_ids() == set()
    with queue.transaction() as pipe:
        queue.stop_waiting("abc", 1, pipe)
        queue.push("abc", 1, pipe)
    assert queue.waiting.job_ids == [] and queue.run_ids() == {"abc_1"}
    for _ in range(2):  # again is nothing
        with queue.transaction() as pipe:
            queue.withdraw("abc", 1, pipe)
        assert queue.run_ids() == set() and not connection.exists("rq:job:abc_1")


def test_an_attempt_that_is_pushed_again_stands_there_once(connection: redis.Redis) -> None:
    queue = DispatchQueue(connection, UUID)
    for _ in range(3):
        with queue.transaction() as pipe:
            queue.push("abc", 1, pipe, again=True)
    assert queue.run.job_ids == ["abc_1"]


def test_what_waits_far_inside_is_not_searched_for_and_goes_when_the_list_is_turned_over(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rq_queues, "NEAR", 2)
    queue = DispatchQueue(connection, UUID)
    wait(queue, *"abcdef")
    with queue.connection.pipeline() as pipe:
        for job_id in "cbe":
            queue.stop_waiting(job_id, 1, pipe)
        assert pipe.execute() == [0, 1, 1]
    mark = queue.begin_turn()
    assert queue.turn_over(3, lambda name: name != "c_1", mark) == (["c_1"], False)
    assert queue.turn_over(3, lambda name: True, mark) == ([], True)
    assert queue.waiting.job_ids == ["a_1", "d_1", "f_1"]


def test_a_turn_is_complete_whatever_comes_and_goes_meanwhile(connection: redis.Redis) -> None:
    queue = DispatchQueue(connection, UUID)
    wait(queue, *"abcdefgh")
    mark, seen = queue.begin_turn(), list[str]()

    def belongs(name: str) -> bool:
        seen.append(name)
        return True

    assert queue.turn_over(3, belongs, mark) == ([], False)
    wait(queue, *"xy")
    connection.lrem(queue.waiting.key, 0, "e_1")
    assert queue.turn_over(3, belongs, mark) == ([], False)
    assert queue.turn_over(3, belongs, mark) == ([], True)
    assert seen == ["a_1", "b_1", "c_1", "d_1", "f_1", "g_1", "h_1"], "each once"
    assert sorted(queue.waiting.job_ids) == sorted(f"{one}_1" for one in "abcdfghxy")


def test_rq_holds_ids_and_one_constant_path_as_json(connection: redis.Redis) -> None:
    queue = DispatchQueue(connection, UUID)
    with queue.transaction() as pipe:
        queue.wait("abc", 3, pipe)
    stored = RqJob.fetch("abc_3", connection=connection, serializer=JSONSerializer)
    assert stored.func_name == FUNCTION and stored.args == ["abc", 3] and stored.kwargs == {}
    assert not stored.retries_left
    assert stored.result_ttl == 0 and stored.failure_ttl <= 10  # of an attempt that ended nothing is left
    assert StartedJobRegistry(queue.run.name, connection=connection).count == 0


def test_an_rq_id_is_job_and_attempt() -> None:
    assert parse_rq_id(rq_id("abc", 12)) == ("abc", 12)


def test_telling_puts_the_summary_in_the_index_and_rings_once(connection: redis.Redis, store: JobStore) -> None:
    index, job = Index(connection, UUID), a_job(store)
    assert index.tell(job) and index.tell(job)
    assert index.wait_for_bell(1.0) == [job.id]
    assert [row["id"] for row in index.summaries()] == [job.id]
    index.forget(job.id)
    assert index.summaries() == []


def test_a_running_job_is_listed_with_its_progress_and_a_final_one_is_not(
    connection: redis.Redis, store: JobStore
) -> None:
    index, job = Index(connection, UUID), a_job(store)
    store.move(job.id, Event.DISPATCH, 2.0, attempt=1, terms=_terms())
    index.tell(store.move(job.id, Event.CLAIM, 3.0, attempt=1))
    index.report_progress(job.id, {"progress": 0.25})
    assert index.summaries()[0]["progress"] == 0.25
    index.tell(store.move(job.id, Event.SUCCEED, 4.0, attempt=1, end="succeeded"))
    assert index.summaries() == [] and index.progress(job.id) == {}


def test_an_index_is_complete_only_once_it_was_filled(connection: redis.Redis, store: JobStore) -> None:
    index, jobs = Index(connection, UUID), [a_job(store) for _ in range(3)]
    index.tell(jobs[0])
    assert not index.is_complete()
    fill(index, (store.load(job.id) for job in jobs))
    assert index.is_complete() and {row["id"] for row in index.summaries()} == {job.id for job in jobs}
    mark = index.begin_filling()
    connection.flushall()
    assert not index.filled(mark) and not index.is_complete()


def test_telling_a_redis_that_is_away_is_no_error(store: JobStore) -> None:
    away = Index(connect_fleetingly(Broker("unix:///nowhere/redis.sock", ours=False)), UUID)
    assert not away.tell(a_job(store)) and not away.ring(LOOK_AT_EVERYTHING)
    assert not away.report_progress("abc", {})


def _terms() -> dict[str, object]:
    return {"resources": {}, "cores": [], "checkpoint_interval_s": 1.0, "failure_rate_per_s": 0.0, "revision": 0}


def test_homes_that_share_a_redis_do_not_see_each_other(connection: redis.Redis, store: JobStore) -> None:
    one, other = Index(connection, UUID), Index(connection, "f" * 32)
    one.tell(a_job(store))
    assert other.summaries() == [] and other.wait_for_bell(0.05) == []
    assert all(json.loads(json.dumps(row))["state"] == "pending" for row in one.summaries())
