"""The index keeps what is newest of each job, whoever tells of it last."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from singlepoint.jobs.broker.index import TOLD_TOGETHER, Index
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job, Sample
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept, fill


def test_a_tell_that_comes_late_does_not_undo_a_newer_one(store: JobStore, connection: redis.Redis) -> None:
    index = Index(connection, store.home.uuid)
    job = accept(store)
    old = store.note(job.id, Note.PRIORITISE, 2.0, priority=3)
    new = store.move(job.id, Event.CANCEL, 3.0, end="cancelled", reason="r")
    assert index.tell(new) and index.tell(old)
    assert index.summaries() == []  # it has ended
    assert index.wait_for_bell(1) == [job.id]  # both rang all the same


def test_many_are_told_together_in_few_round_trips_and_none_is_forgotten(
    store: JobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, sent = Index(connection, store.home.uuid), []
    jobs = [accept(store) for _ in range(TOLD_TOGETHER + 7)]
    pipeline = connection.pipeline
    monkeypatch.setattr(connection, "pipeline", lambda *a, **k: sent.append(1) or pipeline(*a, **k))
    with pytest.raises(RuntimeError), index.together() as tell, ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, jobs))
        raise RuntimeError("whoever tells gives up")
    assert sorted(row["id"] for row in index.summaries()) == sorted(job.id for job in jobs)
    assert sorted(index.wait_for_bell(1)) == sorted(job.id for job in jobs)
    assert len(sent) == 2


def test_a_late_end_of_an_earlier_round_does_not_take_the_progress_of_a_retried_job(
    store: JobStore, connection: redis.Redis
) -> None:
    index = Index(connection, store.home.uuid)
    job = accept(store)
    ended = store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r")
    assert index.tell(store.move(job.id, Event.RETRY, 3.0))
    index.report_progress(job.id, {"progress": 0.5})
    assert index.tell(ended)
    assert [row["state"] for row in index.summaries()] == ["pending"]
    assert index.progress(job.id) == {"progress": 0.5}


def test_a_job_that_was_forgotten_or_damaged_in_the_index_is_put_in_again(
    store: JobStore, connection: redis.Redis
) -> None:
    index = Index(connection, store.home.uuid)
    job = accept(store)
    new = store.note(job.id, Note.HOLD, 2.0)
    index.tell(new)
    index.forget(job.id)
    index.tell(job)
    assert [row["held"] for row in index.summaries()] == [False]
    connection.hset(index.key("jobs"), job.id, "{no json")
    index.tell(job)
    assert [row["id"] for row in index.summaries()] == [job.id]


def test_to_fill_it_does_not_undo_what_is_told_meanwhile(store: JobStore, connection: redis.Redis) -> None:
    index = Index(connection, store.home.uuid)
    job = accept(store)
    assert index.tell(accept(store))  # and removed since

    def read_before_it_moved() -> Iterator[Job]:
        yield job
        index.tell(store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r"))

    fill(index, read_before_it_moved())
    assert index.summaries() == []  # it has ended, and who was removed is not there


def test_of_a_job_that_has_ended_redis_keeps_nothing_for_longer_than_a_tell_may_be_late(
    store: JobStore, connection: redis.Redis
) -> None:
    index = Index(connection, store.home.uuid)
    job = accept(store)
    index.tell(job)
    index.report_progress(job.id, {"progress": 0.5})
    index.tell(store.move(job.id, Event.CANCEL, 2.0, end="cancelled", reason="r"), ring=False)
    index.wait_for_bell(1)
    kept: list[bytes] = list(connection.scan_iter("*"))
    assert kept == [index.key(f"ended:{job.id}").encode()] and 0 < connection.ttl(kept[0]) <= 60


def test_samples_come_back_as_they_were_told_and_what_is_no_sample_is_left_out(
    store: JobStore, connection: redis.Redis
) -> None:
    index = Index(connection, store.home.uuid)
    sample = Sample(attempt=2, at=5.5, progress=0.5, began_progress=0.25, wall_s=3.0, cpu_s=2.5, memory_bytes=2**20)
    index.report_progress("a", {"progress": 0.5, "sample": sample.to_json()})
    index.report_progress("older", {"progress": 0.5})
    index.report_progress("odd", {"sample": {"attempt": None}})
    assert index.samples() == {"a": sample}
