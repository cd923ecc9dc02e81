"""The budget may change while the scheduler runs: lowered, work makes room; raised, more of it starts."""

from __future__ import annotations

import fakeredis
import pytest

from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING
from singlepoint.jobs.errors import UsageError
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Ask, State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.upkeep.mending import MENDING
from singlepoint.scheduler.simulation.paper import MIB
from tests.scheduler.pretend import Bench


@pytest.fixture
def bench(store: JobStore) -> Bench:
    return Bench(store, fakeredis.FakeRedis())


def states(bench: Bench, *job_ids: str) -> list[State]:
    return [bench.store.load(job_id).state for job_id in job_ids]


def test_lowered_nothing_is_granted_and_work_is_asked_to_make_room(bench: Bench) -> None:
    first, second, third = (bench.submit() for _ in range(3))
    bench.look()
    assert [bench.claim(), bench.claim()] == [first, second]

    bench.cpu = 1
    bench.look(2)
    assert [Ask.PREEMPT in bench.store.load(job_id).asks for job_id in (first, second)] == [False, True]
    assert states(bench, third) == [State.PENDING]
    capacity = read_capacity(bench.store.home)
    assert capacity is not None and (capacity.budget.cpu_millis, capacity.cores) == (1000, (0,))


def test_who_chooses_a_budget_and_rings_has_it_taken_in_at_once_and_told_by_its_words(bench: Bench) -> None:
    bench.look()
    bench.memory_mib, bench.words = 1024, "memory=1GiB"
    bench.index.ring(LOOK_AT_EVERYTHING)
    bench.look(0.001)
    lowered = read_capacity(bench.store.home)
    assert lowered is not None and (lowered.budget.memory_bytes, lowered.chosen) == (2**30, "memory=1GiB")

    bench.words = "memory=1024MiB"
    bench.index.ring(LOOK_AT_EVERYTHING)
    bench.look(0.001)
    same = read_capacity(bench.store.home)
    assert same is not None and (same.budget, same.chosen) == (lowered.budget, "memory=1024MiB")


def test_raised_more_of_what_waits_is_started(bench: Bench) -> None:
    jobs = [bench.submit() for _ in range(3)]
    bench.look()
    assert states(bench, *jobs) == [State.QUEUED, State.QUEUED, State.PENDING]

    bench.cpu = 3
    bench.look(2)
    assert states(bench, *jobs) == [State.QUEUED] * 3


def test_what_the_page_puts_away_is_granted_to_work(bench: Bench) -> None:
    bench.page = Resources(memory_bytes=3800 * MIB)
    bench.new_scheduler()
    job_id = bench.submit()
    bench.look()
    assert states(bench, job_id) == [State.PENDING]
    capacity = read_capacity(bench.store.home)
    assert capacity is not None and capacity.page == capacity.reserve == bench.page

    bench.page = Resources(memory_bytes=64 * MIB)
    assert bench.new_scheduler().world.reserve == bench.page, "a restart takes it for no floor"
    bench.page = Resources()
    bench.look(MENDING.every_s)
    assert states(bench, job_id) == [State.QUEUED]
    assert bench.scheduler.world.reserve == Resources()


def test_a_budget_that_cannot_be_told_changes_nothing_and_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.trouble = UsageError("settings.toml: budget.base: is nonsense")
    for _ in range(3):
        bench.look(2)

    assert bench.scheduler.world.budget.cpu_millis == 2000
    assert sum("budget_unreadable" in record.message for record in caplog.records) == 1
