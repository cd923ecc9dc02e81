"""The duties: in slices, each with its own share of time; what they find, complete, learn and delete."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import redis

from singlepoint.jobs.clock import iso
from singlepoint.jobs.errors import NotPermitted
from singlepoint.jobs.ledger.catalogue import by_end, id_of
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.upkeep.duties import SLICE_S, Duty, Pace, Upkeep
from singlepoint.scheduler.runtime.upkeep.filling import Filling, fill
from singlepoint.scheduler.runtime.upkeep.mending import MENDING
from singlepoint.scheduler.world.learned import arrivals
from tests.scheduler.pretend import Bench

YEAR_S = 366 * 86400.0


@pytest.fixture
def bench(store: JobStore, connection: redis.Redis) -> Bench:
    return Bench(store, connection)


class Watch:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.at = 0.0
        self.done: list[str] = []

    def slices(self, name: str, count: int, each_s: float) -> Iterator[None]:
        for _ in range(count):
            self.at += each_s
            self.done.append(name)
            yield


def test_a_pass_gives_the_duties_their_slice_and_goes_on_where_it_stopped() -> None:
    watch = Watch()
    long = Duty("long", lambda: watch.slices("long", 5, SLICE_S / 2))
    short = Duty("short", lambda: watch.slices("short", 1, 0.0))
    upkeep = Upkeep([long, short], lambda: watch.at)
    assert upkeep.run() and watch.done == ["long"] * 2
    assert upkeep.run() and len(watch.done) == 4
    assert not upkeep.run() and watch.done == ["long"] * 5 + ["short"]
    assert not upkeep.run() and len(watch.done) == 6


def test_what_takes_long_begins_again_the_later() -> None:
    watch = Watch()
    duty = Duty("slow", lambda: watch.slices("slow", 1, 2.0), pace=Pace(every_s=30.0, share=0.01))
    upkeep = Upkeep([duty], lambda: watch.at)
    upkeep.run()
    upkeep.run()
    assert duty.due_at == 2.0 + 200.0
    upkeep.at_once("slow")
    upkeep.run()
    assert len(watch.done) == 2


def test_a_duty_that_fails_is_told_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()

    def fails() -> Iterator[None]:
        yield
        raise NotPermitted("no")

    upkeep = Upkeep([Duty("bad", fails), Duty("good", lambda: watch.slices("good", 1, 0.0))], lambda: watch.at)
    upkeep.run()
    assert watch.done == ["good"] and "duty_failed duty=bad" in caplog.text


def finished(bench: Bench, event: Event = Event.SUCCEED, **facts: object) -> str:
    job_id = bench.submit()
    bench.look()
    assert bench.claim() == job_id
    bench.end(job_id, event, **facts)
    bench.look()
    return job_id


def test_a_lost_index_is_filled_in_slices_and_what_moves_meanwhile_stays(
    bench: Bench, connection: redis.Redis, store: JobStore
) -> None:
    ids = [bench.submit() for _ in range(5)]
    bench.look()
    connection.flushall()

    filling = fill(bench.scheduler.world, bench.index, Filling(rows_a_slice=2))
    next(filling)
    next(filling)
    assert len(bench.index.summaries()) == 2 and not bench.index.is_complete()
    for id_ in ids[:1] + ids[-1:]:
        bench.index.tell(store.note(id_, Note.HOLD, 9.0))
    list(filling)
    assert bench.index.is_complete() and bench.told() == bench.states()
    assert {row["id"] for row in bench.index.summaries() if row["held"]} == {ids[0], ids[-1]}


def test_an_index_that_is_lost_again_while_it_is_filled_is_filled_again(bench: Bench, connection: redis.Redis) -> None:
    for _ in range(5):
        bench.submit()
    bench.look()
    filling = fill(bench.scheduler.world, bench.index, Filling(rows_a_slice=2))
    next(filling)
    next(filling)
    connection.flushall()
    list(filling)
    assert not bench.index.is_complete()
    bench.look(0.1)
    assert bench.index.is_complete() and bench.told() == bench.states()


def listed(store: JobStore) -> list[str]:
    return [id_of(line) for line in by_end(store.catalogue.lines())]


def test_an_end_that_a_crash_kept_from_the_ledger_is_noted_once(bench: Bench, store: JobStore) -> None:
    job_id = finished(bench)
    store.ledger.path.unlink()
    bench.look(MENDING.every_s * 200)
    bench.look(MENDING.every_s * 200)
    assert listed(store) == [job_id] and len(store.ledger.path.read_bytes().splitlines()) == 1


def test_a_scheduler_holds_nothing_of_jobs_that_have_ended_and_reads_the_newest_alone_when_it_starts(
    bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, newest = finished(bench), finished(bench)
    waiting = bench.submit()
    bench.look()
    world = bench.scheduler.world
    assert list(world.ids()) == [waiting] and not world.knows(ended)
    read: list[str] = []
    load = JobStore.load
    monkeypatch.setattr(arrivals, "REMEMBERED", 1)
    monkeypatch.setattr(JobStore, "load", lambda self, job_id: (read.append(job_id), load(self, job_id))[1])
    bench.new_scheduler()
    bench.look()
    assert set(read) == {waiting, newest}


def test_what_jobs_taught_is_known_after_they_were_removed_and_after_a_restart(bench: Bench, store: JobStore) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.now += 10
    bench.end(job_id, Event.LOSE, end="killed")
    bench.look()
    bench.claim()
    bench.now += 10
    bench.end(job_id)
    bench.look()
    before = bench.scheduler.world.reliability.evidence
    assert before.exposure_ms == pytest.approx(20_000, abs=10) and before.deaths == (1, 0, 0)
    store.remove(job_id)
    bench.new_scheduler()
    bench.look()
    assert bench.scheduler.world.reliability.evidence == before


def test_a_retried_job_is_counted_once(bench: Bench, store: JobStore) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.now += 10
    bench.end(job_id, Event.FAIL, end="failed", reason="r")
    bench.look()
    bench.index.tell(store.move(job_id, Event.RETRY, bench.now))
    bench.look()
    bench.claim()
    bench.now += 5
    bench.end(job_id)
    bench.look()
    here = bench.scheduler.world.reliability.exposure_s
    bench.new_scheduler()
    bench.look()
    assert here == bench.scheduler.world.reliability.exposure_s == pytest.approx(15.0, abs=0.01)


def test_jobs_that_ended_long_ago_are_deleted_as_the_settings_say_and_told_before(
    bench: Bench, store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.home.settings.write_text("[retention]\nkeep = 1\n[retention.failed]\nolder_than = 'never'\n")
    oldest, failed = finished(bench), finished(bench, Event.FAIL, end="failed", reason="r")
    needed, newest = finished(bench), finished(bench)
    waiting = bench.submit(after=[needed])
    bench.note(waiting, Note.HOLD)
    with caplog.at_level(logging.INFO):
        bench.look(YEAR_S)
    assert set(store.ids()) == {failed, needed, newest, waiting}
    told = [line for line in caplog.messages if line.startswith(("retention_begins", "job_deleted"))]
    assert told[0].startswith("retention_begins") and told[1].startswith(f"job_deleted job={oldest}") and len(told) == 2
    assert set(listed(store)) == {failed, needed, newest}


@pytest.mark.parametrize("loses_redis", [False, True])
def test_a_job_starts_after_one_that_succeeded_and_was_removed_while_nobody_looked(
    bench: Bench, store: JobStore, loses_redis: bool
) -> None:
    needed = finished(bench)
    waiting = bench.submit(after=[needed])
    store.remove(needed)
    if loses_redis:
        bench.connection.flushall()
    bench.new_scheduler()
    bench.look()
    assert bench.states() == {waiting: "queued"}


@pytest.mark.parametrize("loses_redis", [False, True])
def test_a_job_begins_when_it_was_to_although_the_scheduler_or_redis_was_lost_meanwhile(
    bench: Bench, loses_redis: bool
) -> None:
    waiting = bench.submit(begin_at=iso(bench.now + 7200), preemptible=False)
    bench.look()
    if loses_redis:
        bench.connection.flushall()
    bench.new_scheduler()
    bench.look(7100)
    assert bench.states() == bench.told() == {waiting: "pending"}
    bench.look(100)
    assert bench.states() == bench.told() == {waiting: "queued"}


@pytest.mark.parametrize("loses_redis", [False, True])
def test_what_projects_have_had_is_known_after_a_restart_and_weighs_as_the_settings_say(
    bench: Bench, store: JobStore, loses_redis: bool
) -> None:
    bench.policy, bench.cpu = "easy", 1
    bench.new_scheduler()
    store.home.settings.write_text("[shares]\nhalf_life = '1h'\nprojects = { worthy = 2.0 }\n")
    for project in ("worthy", "greedy"):
        bench.submit(project=project)
        bench.look()
        job_id = bench.claim()
        bench.look(1000.0)
        bench.end(job_id)
    if loses_redis:
        bench.connection.flushall()
    bench.new_scheduler()
    first, second = bench.submit(project="greedy"), bench.submit(project="worthy")
    bench.look(1.0)
    assert bench.states()[first] == "pending" and bench.states()[second] == "queued"
    usage = bench.scheduler.world.books.usage
    assert (usage.weights, usage.half_life_s) == ({"worthy": 2.0}, 3600.0)
    assert usage.as_of_now().used.keys() >= {"worthy", "greedy"}


def test_nothing_is_deleted_while_the_settings_cannot_be_read(
    bench: Bench, store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = finished(bench)
    store.home.settings.write_text("[retention]\nkeep = 0\nolder_then = '1s'\n")
    bench.look(YEAR_S)
    bench.look(YEAR_S)
    assert store.ids() == [job_id] and caplog.text.count("settings_unreadable") == 1


def test_by_default_nothing_is_deleted_that_is_among_the_newest_two_hundred_thousand(
    bench: Bench, store: JobStore
) -> None:
    job_id = finished(bench)
    bench.look(100 * YEAR_S)
    assert store.ids() == [job_id]
