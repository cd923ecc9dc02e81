"""What rq still has of attempts whose worker died: nothing, once the scheduler has rescued them."""

from __future__ import annotations

import pytest
import redis
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.services.draining import Drain
from singlepoint.jobs.services.draining import drain as begin_drain
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime import loop
from singlepoint.scheduler.runtime.upkeep.lining_up import LiningUp
from tests.scheduler.pretend import Bench


def begin_in_rq(bench: Bench, job_id: str, status: JobStatus) -> None:
    """What an rq worker writes down when it takes an attempt, up to the given status."""
    job = RqJob.fetch(rq_id(job_id, 1), connection=bench.connection, serializer=JSONSerializer)
    with bench.connection.pipeline() as pipe:
        Execution.create(job, 60, pipeline=pipe)
        job.set_status(status, pipeline=pipe)
        pipe.execute()


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.STARTED])
def test_a_rescued_attempt_is_out_of_all_of_rqs_books(
    store: JobStore, connection: redis.Redis, status: JobStatus
) -> None:
    bench = Bench(store, connection)
    job_id = bench.submit()
    bench.look()
    begin_in_rq(bench, job_id, status)
    bench.claim()
    bench.look()
    bench.die(job_id)
    bench.look(1.5)
    assert bench.load(job_id).attempt == 2
    kept = {key.decode() for key in connection.scan_iter("rq:*")}
    assert not [key for key in kept if rq_id(job_id, 1) in key], kept
    assert connection.zrange(bench.queue.run.started_job_registry.key, 0, -1) == []


def test_what_waits_in_rq_is_each_pending_job_once_however_many_there_are(
    store: JobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LINING_UP", LiningUp(rows_a_slice=4))
    bench = Bench(store, connection, cpu=1)
    begin_drain(store.home, Drain(bench.now), bench.now)
    ids = [bench.submit() for _ in range(11)]
    for id_ in ids:
        bench.ring(id_)
    bench.look()
    waiting = bench.queue.waiting
    expected = sorted(rq_id(id_, 1) for id_ in ids)
    connection.rpush(waiting.key, rq_id(ids[3], 1), "nonsense", rq_id(ids[0], 7))
    connection.lrem(waiting.key, 1, rq_id(ids[5], 1))
    for _ in range(40):
        bench.look(1.0)
    assert sorted(waiting.job_ids) == expected
