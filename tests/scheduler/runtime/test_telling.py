"""What Redis is told of a pass: once, and however much waits, no more than what moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis

from singlepoint.jobs.broker import rq_queues
from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.upkeep.lining_up import LINING_UP, LiningUp, bring_in_line
from singlepoint.scheduler.runtime.upkeep.mending import MENDING
from tests.scheduler.pretend import Bench


class Counting(fakeredis.FakeRedis):
    """Keeps the names of the commands that were sent, a list for each time somebody waited for an answer."""

    sent: list[list[str]]

    def pipeline(self, *arguments: Any, **options: Any) -> Any:
        pipe = super().pipeline(*arguments, **options)
        execute = pipe.execute

        def counted(*given: Any, **more: Any) -> Any:
            self.sent.append([str(command[0][0]) for command in pipe.command_stack])
            return execute(*given, **more)

        pipe.execute = counted
        return pipe


def writing(connection: Counting) -> list[list[str]]:
    return [commands for commands in connection.sent if not {"EXISTS", "SMEMBERS"} >= set(commands)]


@pytest.fixture
def counting() -> Counting:
    connection = Counting()
    connection.sent = []
    return connection


def test_what_a_pass_moved_is_told_in_one_transaction(store: JobStore, counting: Counting) -> None:
    bench = Bench(store, counting, cpu=2)
    bench.look()
    ids = [bench.submit() for _ in range(5)]
    counting.sent.clear()
    bench.look()
    assert [job_id for job_id in ids if bench.load(job_id).state is State.QUEUED] == ids[:2]
    assert len(writing(counting)) == 1
    assert bench.queue.run.job_ids == [rq_id(job_id, 1) for job_id in ids[:2]]
    assert bench.queue.waiting.job_ids == [rq_id(job_id, 1) for job_id in ids[2:]]


def test_a_job_that_is_granted_room_at_once_never_waits_in_rq(store: JobStore, counting: Counting) -> None:
    bench = Bench(store, counting)
    bench.look()
    counting.sent.clear()
    bench.submit()
    bench.look()
    assert sum(commands.count("RPUSH") for commands in writing(counting)[1:]) == 1


@pytest.mark.parametrize("waiting", [0, 40])
def test_a_move_costs_the_same_commands_however_many_wait(store: JobStore, counting: Counting, waiting: int) -> None:
    bench = Bench(store, counting, cpu=1)
    running = bench.submit()
    others = [bench.submit() for _ in range(waiting + 2)]
    bench.look()
    bench.claim()
    bench.look()
    counting.sent.clear()
    bench.index.tell(bench.store.move(others[waiting // 2], Event.CANCEL, bench.now))
    bench.end(running)
    bench.look()
    [_, _, told] = writing(counting)  # by whoever cancelled, by the worker, and by the scheduler
    gone, granted = ["EVAL", "DEL"], ["EVAL", "SADD", "HSET", "HSET", "RPUSH", "EVAL", "PUBLISH"]
    assert told == gone + granted


def cancel(bench: Bench, job_id: str) -> None:
    bench.index.tell(bench.store.move(job_id, Event.CANCEL, bench.now))


def start_anew(bench: Bench) -> None:
    bench.new_scheduler()


@pytest.mark.parametrize("then", [lambda _bench: None, start_anew])
def test_what_is_left_over_deep_inside_the_list_is_gone_a_moment_later(
    store: JobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, then: Callable[[Bench], None]
) -> None:
    monkeypatch.setattr(rq_queues, "NEAR", 1)
    bench = Bench(store, connection, cpu=1)
    ids = [bench.submit() for _ in range(6)]
    bench.look()
    cancel(bench, ids[3])
    bench.look()
    assert rq_id(ids[3], 1) in bench.queue.waiting.job_ids
    then(bench)
    for _ in range(3):
        bench.look(LINING_UP.every_s)
    assert sorted(bench.queue.waiting.job_ids) == sorted(rq_id(ids[n], 1) for n in (1, 2, 4, 5))
    assert not connection.exists(f"rq:job:{rq_id(ids[3], 1)}")


def test_what_leaves_the_list_while_it_is_turned_over_is_not_forgotten(
    store: JobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rq_queues, "NEAR", 1)
    bench = Bench(store, connection, cpu=1)
    ids = [bench.submit() for _ in range(9)]
    bench.look()
    cancel(bench, ids[3])
    bench.look()
    sight, telling = bench.scheduler.sight, bench.scheduler._redis
    assert telling is not None
    slices = bring_in_line(sight, telling, LiningUp(rows_a_slice=2))
    for _ in range(3):
        next(slices)  # so many of the first stand at the end now
    cancel(bench, ids[2])
    bench.look()
    for _ in slices:
        pass
    assert not telling.is_in_line and rq_id(ids[2], 1) in bench.queue.waiting.job_ids
    for _ in range(3):
        bench.look(LINING_UP.every_s)
    assert sorted(bench.queue.waiting.job_ids) == sorted(rq_id(ids[n], 1) for n in (1, 4, 5, 6, 7, 8))


def test_what_stands_twice_or_is_missing_is_put_right(store: JobStore, connection: redis.Redis) -> None:
    bench = Bench(store, connection, cpu=1)
    ids = [bench.submit() for _ in range(5)]
    bench.look()
    key = bench.queue.waiting.key
    connection.lrem(key, 1, rq_id(ids[1], 1))
    connection.rpush(key, rq_id(ids[2], 1), rq_id(ids[2], 1), rq_id(ids[0], 1))
    bench.look(MENDING.every_s + 1)
    assert sorted(bench.queue.waiting.job_ids) == sorted(rq_id(job_id, 1) for job_id in ids[1:])
    assert bench.queue.run.job_ids == [rq_id(ids[0], 1)] and connection.exists(f"rq:job:{rq_id(ids[0], 1)}")
