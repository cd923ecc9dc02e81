"""A process that stands still with one job's history locked keeps that job waiting, and no other."""

from __future__ import annotations

import fcntl
import os

import fakeredis

from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.job_store import JobStore
from tests.scheduler.pretend import Bench


def test_one_locked_history_holds_up_its_own_job_only(store: JobStore) -> None:
    store.patience_s = 0.01
    with fakeredis.FakeRedis() as connection:
        bench = Bench(store, connection)
        busy, other = bench.submit(), bench.submit()
        lock = os.open(store.home.job(busy) / "history.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        bench.scheduler.look([busy, other])
        assert [store.load(job_id).state for job_id in (busy, other)] == [State.PENDING, State.QUEUED]
        os.close(lock)
        bench.scheduler.look()
        assert store.load(busy).state is State.QUEUED
