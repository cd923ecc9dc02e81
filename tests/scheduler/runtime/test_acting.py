"""A decision is checked again on disk: a job that moved since is left as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.jobs.lifecycle.states import Ask, Event
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.policy.plan import Decision, Dispatch, Fail, Preempt, Rescue, Resume, TakeBack
from singlepoint.scheduler.runtime.acting import DiskActs
from tests.scheduler.pretend import Bench

TERMS = Terms(Resources(1000), (0,), revision=1)


@pytest.fixture
def bench(store: JobStore, connection: redis.Redis) -> Bench:
    return Bench(store, connection)


def pending(bench: Bench) -> str:
    return bench.submit()


def held(bench: Bench) -> str:
    job_id = bench.submit()
    bench.store.note(job_id, Note.HOLD, bench.now)
    return job_id


def cancelled(bench: Bench) -> str:
    job_id = bench.submit()
    bench.store.move(job_id, Event.CANCEL, bench.now)
    return job_id


def queued(bench: Bench) -> str:
    job_id = bench.submit()
    bench.look()
    return job_id


def running(bench: Bench) -> str:
    queued(bench)
    return bench.claim()


def lost_but_alive(bench: Bench) -> str:
    job_id = running(bench)
    bench.store.move(job_id, Event.LOSE, bench.now, attempt=1, end="killed")
    return job_id


def succeeded(bench: Bench) -> str:
    job_id = running(bench)
    bench.end(job_id)
    return job_id


STALE: list[tuple[Callable[[Bench], str], Callable[[str], Decision]]] = [
    (held, lambda job_id: Dispatch(job_id, 1, TERMS)),
    (cancelled, lambda job_id: Dispatch(job_id, 1, TERMS)),
    (queued, lambda job_id: Dispatch(job_id, 1, TERMS)),
    (pending, lambda job_id: Dispatch(job_id, 2, TERMS)),
    (lost_but_alive, lambda job_id: Dispatch(job_id, 2, TERMS)),
    (running, lambda job_id: Rescue(job_id, 1, "killed", "")),
    (succeeded, lambda job_id: Rescue(job_id, 1, "killed", "")),
    (running, lambda job_id: Rescue(job_id, 0, "killed", "")),
    (succeeded, lambda job_id: Preempt(job_id, 1)),
    (queued, lambda job_id: Preempt(job_id, 1)),
    (running, lambda job_id: TakeBack(job_id, 1, "")),
    (running, lambda job_id: Resume(job_id, 1, TERMS)),
    (queued, lambda job_id: Fail(job_id, "")),
]


@pytest.mark.parametrize(("state", "decision"), STALE)
def test_a_stale_decision_writes_nothing(
    bench: Bench, state: Callable[[Bench], str], decision: Callable[[str], Decision]
) -> None:
    job_id = state(bench)
    before = bench.store.history(job_id)
    job, changed = DiskActs(bench.store, bench.clock, {}).carry_out(decision(job_id))
    assert not changed
    assert bench.store.history(job_id) == before
    assert job == bench.load(job_id)


def test_deciding_twice_writes_once(bench: Bench) -> None:
    job_id = running(bench)
    acts = DiskActs(bench.store, bench.clock, {})
    assert acts.carry_out(Preempt(job_id, 1))[1]
    assert not acts.carry_out(Preempt(job_id, 1))[1]
    assert Ask.PREEMPT in bench.load(job_id).asks
