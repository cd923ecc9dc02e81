"""The loop over a real disk and over both a fake and a real Redis; the worker is a pretended one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable

import pytest
import redis

from singlepoint.jobs.broker.index import LOOK_AT_EVERYTHING
from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.host.processes import worker_name
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources, Sample
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.jobs.services.draining import Drain
from singlepoint.jobs.services.draining import drain as begin_drain
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.policy.plan import Plan
from singlepoint.scheduler.runtime import choices
from singlepoint.scheduler.runtime.loop import ANXIOUS_S, IDLE_S
from singlepoint.scheduler.runtime.stopping import Stopping, StopSignals
from singlepoint.scheduler.simulation.paper import MIB
from singlepoint.scheduler.world.world import World
from tests.scheduler.pretend import Bench


@pytest.fixture
def bench(store: JobStore, connection: redis.Redis) -> Bench:
    return Bench(store, connection)


def test_a_job_goes_from_submission_to_its_end(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    assert set(bench.queue.waiting.job_ids) == set()
    assert bench.queue.run_ids() == {rq_id(job_id, 1)}
    assert bench.claim() == job_id
    bench.look()
    bench.end(job_id)
    bench.look()
    assert bench.told() == bench.states() == {job_id: "succeeded"}
    assert bench.scheduler.world.reserved.cpu_millis == 0


def test_only_what_fits_is_handed_to_the_workers(bench: Bench) -> None:
    ids = [bench.submit() for _ in range(5)]
    bench.look()
    assert len(bench.queue.run_ids()) == 2
    assert len(set(bench.queue.waiting.job_ids)) == 3
    told = bench.index.told()
    assert told.first in ids
    assert "needs 1 core (0 cores free)" in told.why[told.first]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_what_a_disk_or_the_machine_fails_in_for_a_moment_does_not_end_the_scheduler(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    job_id = bench.submit()
    rests = [True, False]

    def fails_once(_home: Home, _at: float) -> None:
        if rests == [True, False]:
            raise OSError(number, os.strerror(number))

    def rest(_wait: Callable[[], object]) -> list[str]:
        rests.pop()
        if bench.states() == {job_id: "queued"}:
            raise Stopping
        return []

    monkeypatch.setattr(choices, "planned_drain", fails_once)
    monkeypatch.setattr(StopSignals, "rest", lambda _signals, wait: rest(wait))
    bench.scheduler.run()
    assert bench.queue.run_ids() == {rq_id(job_id, 1)}


def test_a_new_head_is_published_soon_but_not_for_each_of_many(bench: Bench) -> None:
    ids = [bench.submit() for _ in range(5)]
    bench.look()
    bench.claim()
    bench.end(ids[0])
    bench.look()
    assert bench.index.told().first == ids[2]
    assert bench.scheduler.patience_s() <= 0.25
    bench.look(0.25)
    assert bench.index.told().first == ids[3]


def test_many_jobs_that_rang_together_cost_one_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [bench.submit() for _ in range(200)]
    bench.look()  # the first look mends; from here on it is one pass each
    decided: list[World] = []

    def counted(world: World, *_more: object) -> Plan:
        decided.append(world)
        return Plan()

    monkeypatch.setattr("singlepoint.scheduler.runtime.loop.decide", counted)
    for job_id in ids:
        bench.ring(job_id)
    bench.look()
    assert len(decided) == 1


def test_the_budget_is_published_for_submit_to_read(bench: Bench) -> None:
    capacity = read_capacity(bench.store.home)
    assert capacity is not None
    assert capacity.budget == bench.scheduler.world.budget
    assert capacity.cores == (0, 1)
    assert capacity.is_live()


def test_a_death_that_was_rung_is_rescued_at_once(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    bench.die(job_id)
    bench.ring(job_id)
    bench.look()
    job = bench.load(job_id)
    assert (job.state, job.attempt) == (State.QUEUED, 2)
    assert job.attempts[0].end == "killed"
    assert bench.queue.run_ids() == {rq_id(job_id, 2)}


def test_a_death_that_nobody_rang_is_found_within_a_second(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look(1.1)
    bench.die(job_id)
    bench.look(1.1)
    assert bench.load(job_id).attempt == 2


def test_a_death_whose_worker_lives_is_left_to_it_for_a_second_since_it_knows_why(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim(worker_name(0, os.getpid(), 0))
    bench.look(1.1)
    bench.die(job_id)
    bench.look(1.1)  # its lock is free
    assert bench.load(job_id).state is State.RUNNING
    bench.look(1.1)  # and nothing was written down
    assert bench.load(job_id).attempt == 2


def test_a_death_whose_worker_is_dead_too_is_nobody_elses_to_write_down(bench: Bench) -> None:
    worker = subprocess.Popen(["true"])
    worker.wait()
    job_id = bench.submit()
    bench.look()
    bench.claim(worker_name(0, worker.pid, 0))
    bench.look()
    bench.die(job_id)
    bench.ring(job_id)
    bench.look()
    assert bench.load(job_id).attempt == 2


def test_a_suspect_whose_child_still_lives_is_looked_at_in_short_steps_until_it_is_gone(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    bench.ring(job_id)
    bench.look()
    assert bench.load(job_id).state is State.RUNNING
    assert bench.scheduler.patience_s() == ANXIOUS_S
    bench.die(job_id)
    bench.look(ANXIOUS_S)
    assert bench.load(job_id).attempt == 2


def test_a_false_alarm_is_forgotten(bench: Bench) -> None:
    bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    bench.ring(LOOK_AT_EVERYTHING)
    bench.look()
    assert bench.scheduler.patience_s() == ANXIOUS_S
    bench.look(2.5)
    assert bench.scheduler.patience_s() > ANXIOUS_S


def test_an_idle_scheduler_waits_long(bench: Bench) -> None:
    bench.look()
    assert bench.scheduler.patience_s() == IDLE_S


def test_the_ledger_of_a_rescued_attempt_tells_steps_and_lost_work(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    directory = bench.store.home.job(job_id)
    (directory / "checkpoints").mkdir()
    saved = directory / "checkpoints" / "000000000030-0001.safetensors"
    saved.write_bytes(b"")
    os.utime(saved, (bench.now + 4, bench.now + 4))
    (directory / "progress.json").write_text(json.dumps({"attempt": 1, "first_step": 0, "step": 42, "total": 100}))
    bench.look(5.0)
    bench.die(job_id)
    bench.look(1.5)
    attempt = bench.load(job_id).attempts[0]
    assert (attempt.end, attempt.steps) == ("killed", 42)
    assert attempt.lost_s == pytest.approx(2.5)


def test_a_job_its_client_cancelled_leaves_no_trace_in_rq(bench: Bench) -> None:
    running, waiting = bench.submit(), bench.submit(priority=-1, requests={"cpu_millis": 2000})
    bench.look()
    for job_id in (running, waiting):
        bench.index.tell(bench.store.move(job_id, Event.CANCEL, bench.now))
    bench.look()
    assert bench.queue.run_ids() == set(bench.queue.waiting.job_ids) == set()
    assert not bench.connection.exists(f"rq:job:{rq_id(running, 1)}", f"rq:job:{rq_id(waiting, 1)}")


def test_a_job_handed_back_waits_in_rq_again_as_its_next_attempt(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.note(job_id, Note.HOLD)
    bench.look()
    bench.end(job_id, Event.HAND_BACK, end="drained")
    bench.look()
    assert set(bench.queue.waiting.job_ids) == {rq_id(job_id, 2)}


def test_a_pause_frees_the_cores_and_resume_grants_them_again(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.note(job_id, Note.ASK, ask=Ask.PAUSE.value)
    bench.note(job_id, Note.PAUSE)
    bench.look()
    assert bench.scheduler.world.reserved.cpu_millis == 0
    bench.note(job_id, Note.RESUME)
    bench.look()
    terms = bench.load(job_id).terms
    assert terms is not None
    assert (terms.revision, terms.cores) == (1, (0,))


def test_a_scheduler_that_starts_anew_grants_nothing_that_is_held(bench: Bench) -> None:
    first, second, third = (bench.submit() for _ in range(3))
    bench.look()
    bench.claim()
    bench.claim()
    bench.new_scheduler()
    bench.look()
    assert bench.load(third).state is State.PENDING
    assert bench.scheduler.world.reserved.cpu_millis == 2000
    assert {first, second} == {job.id for job in bench.scheduler.world.holders()}


def test_an_attempt_popped_by_a_worker_that_died_is_pushed_again(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    assert bench.pop() == (job_id, 1)
    bench.look(1.0)
    assert bench.queue.run_ids() == set()
    bench.ring(LOOK_AT_EVERYTHING)
    bench.look()
    assert bench.queue.run_ids() == {rq_id(job_id, 1)}


def test_an_attempt_that_nobody_has_is_pushed_again_after_five_seconds_even_if_nobody_rang(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.pop()
    bench.look(4.0)
    assert bench.queue.run_ids() == set()
    bench.look(1.5)
    assert bench.queue.run_ids() == {rq_id(job_id, 1)}


def test_an_attempt_that_is_being_begun_is_not_pushed_again(bench: Bench) -> None:
    bench.submit()
    bench.look()
    taken = bench.pop()
    assert taken is not None
    bench.lock(taken[0])
    bench.look(10.0)
    assert bench.queue.run_ids() == set()


def test_after_all_of_redis_is_lost_every_job_is_there_again(bench: Bench) -> None:
    done, running, queued, waiting, held = (bench.submit(priority=-n) for n in range(5))
    bench.look()
    assert bench.claim() == done
    bench.end(done)
    bench.look()
    assert bench.claim() == running
    bench.look()
    bench.note(held, Note.HOLD)
    bench.look()
    before = bench.states()
    assert before[queued] == "queued"
    bench.connection.flushall()
    bench.look(0.1)
    assert bench.told() == bench.states() == before
    assert bench.queue.run_ids() == {rq_id(queued, 1)}
    assert set(bench.queue.waiting.job_ids) == {rq_id(waiting, 1), rq_id(held, 1)}
    assert bench.index.is_complete()
    bench.end(running)
    bench.look()
    assert bench.load(waiting).state is State.QUEUED


def test_what_happened_while_redis_was_away_is_found_on_disk(bench: Bench) -> None:
    running = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    bench.scheduler._lose_redis(redis.ConnectionError("away"))
    new = bench.store.create(b"{}", {"name": "x", "kind": "train", "requests": {"cpu_millis": 1000}}, bench.now).id
    bench.store.move(running, Event.SUCCEED, bench.now, attempt=1, end="succeeded")
    bench.die(running)
    bench.look()
    assert bench.told() == bench.states() == {running: "succeeded", new: "queued"}
    assert bench.queue.run_ids() == {rq_id(new, 1)}


def test_a_removed_job_is_forgotten_everywhere(bench: Bench) -> None:
    job_id = bench.submit(requests={"cpu_millis": 9000})
    bench.look()
    bench.store.remove(job_id)
    bench.index.forget(job_id)
    bench.look()
    bench.look(3600.0)
    assert bench.told() == {}
    assert set(bench.queue.waiting.job_ids) == set()
    assert list(bench.scheduler.world.ids()) == []


def test_one_damaged_history_stops_nobody_else(bench: Bench) -> None:
    broken = bench.submit()
    (bench.store.home.job(broken) / "history.jsonl").write_bytes(b"not json\n")
    sound = bench.submit()
    bench.look()
    bench.new_scheduler()
    bench.look()
    assert bench.load(sound).state is State.QUEUED


def damage(bench: Bench, job_id: str) -> bytes:
    """One byte of its history, which is as long as before; answers what it was."""
    history = bench.store.home.job(job_id) / "history.jsonl"
    sound = history.read_bytes()
    history.write_bytes(sound[:10] + b"\0" + sound[11:])
    return sound


def test_a_history_damaged_after_it_was_read_stops_only_its_job_until_it_is_restored(bench: Bench) -> None:
    running, _, broken, sound = (bench.submit() for _ in range(4))
    follower = bench.submit(after=[broken])
    bench.look()
    assert bench.claim() == running
    bench.look()
    before = damage(bench, broken)
    bench.end(running)
    bench.look()
    assert bench.load(sound).state is State.QUEUED
    assert bench.load(follower).state is State.PENDING
    (bench.store.home.job(broken) / "history.jsonl").write_bytes(before)
    with bench.queue.transaction() as pipe:
        bench.queue.withdraw(sound, 1, pipe)
    bench.index.tell(bench.store.move(sound, Event.CANCEL, bench.now))
    bench.look(31.0)
    assert bench.load(broken).state is State.QUEUED


def test_work_whose_history_was_damaged_keeps_what_it_was_granted_as_long_as_it_lives(bench: Bench) -> None:
    broken = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    damage(bench, broken)
    begin_drain(bench.store.home, Drain(bench.now), bench.now)  # has something written into every history
    bench.look()
    assert bench.scheduler.world.reserved.cpu_millis == 1000
    bench.die(broken)
    bench.look(1.1)
    assert bench.scheduler.world.reserved.cpu_millis == 0


def test_a_lock_or_a_history_that_may_not_be_looked_at_stops_nobody_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = bench.submit()
    bench.look()
    bench.claim()

    def refused(job_id: str) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), job_id)

    size, worked_on = bench.store.size, bench.store.is_being_worked_on
    monkeypatch.setattr(bench.store, "size", lambda one: refused(one) if one == closed else size(one))
    monkeypatch.setattr(
        bench.store, "is_being_worked_on", lambda one: bool(one == closed and refused(one)) or worked_on(one)
    )
    sound = bench.submit()
    bench.new_scheduler()
    bench.look(31.0)
    assert bench.load(sound).state is State.QUEUED


def test_a_job_removed_while_its_history_was_waited_for_is_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, sound = bench.submit(), bench.submit()
    monkeypatch.setattr(
        bench.store, "_wait_for", lambda _lock, one: shutil.rmtree(bench.store.home.job(one)) if one == gone else None
    )
    bench.look()
    assert bench.load(sound).state is State.QUEUED
    assert list(bench.scheduler.world.ids()) == [sound]
    assert bench.scheduler.world.reserved.cpu_millis == 1000


@pytest.mark.parametrize("foreign", ["foo", "foo_bar", "foo_007", "../jobs_1", "foo\0_1", "_1"])
def test_an_id_that_somebody_else_put_into_our_queues_is_taken_out_and_keeps_nobody_waiting(
    bench: Bench, foreign: str
) -> None:
    job_id = bench.submit()
    bench.look()
    for queue in (bench.queue.waiting, bench.queue.run):
        bench.connection.rpush(queue.key, foreign)
    bench.look(31.0)
    assert set(bench.queue.waiting.job_ids) == set()
    assert bench.queue.run_ids() == {rq_id(job_id, 1)}


def test_the_index_follows_a_history_that_was_restored_from_an_older_one(bench: Bench) -> None:
    job_id = bench.submit(requests={"cpu_millis": 9000})  # so that nothing is added to it afterwards
    history = bench.store.home.job(job_id) / "history.jsonl"
    old = history.read_bytes()
    bench.note(job_id, Note.HOLD)
    bench.look()
    history.write_bytes(old)
    bench.look(31.0)
    assert not bench.index.summaries()[0]["held"]


def growing(reserves: list[int]) -> Callable[[Resources | None, int], Resources]:
    """A measure that answers these MiB one after another, and the last one from then on; never below its floor."""

    def measure(floor: Resources | None, _workers: int) -> Resources:
        grown = reserves.pop(0) if len(reserves) > 1 else reserves[0]
        return Resources(memory_bytes=max(grown * MIB, floor.memory_bytes if floor else 0))

    return measure


def test_work_is_not_put_down_because_our_own_reserve_grew_and_nothing_new_is_granted_beyond_it(
    store: JobStore, connection: redis.Redis
) -> None:
    bench = Bench(store, connection, memory_mib=1024, measure=growing([128, 192]))
    running = bench.submit(requests=Resources(1000, 896 * MIB).to_json())
    bench.look()
    bench.claim()
    small = bench.submit(requests=Resources(1000, 1 * MIB).to_json())
    bench.look(31.0)
    assert bench.scheduler.world.reserve.memory_bytes == 192 * MIB
    for _ in range(2):  # a scheduler that starts anew knows it as well
        assert bench.load(running).asks == {}
        assert bench.load(small).state is State.PENDING
        bench.new_scheduler()
        bench.look()
    bench.end(running)
    bench.look()
    assert bench.load(small).state is State.QUEUED


def test_a_reserve_that_was_published_is_where_the_next_scheduler_of_that_budget_begins(
    store: JobStore, connection: redis.Redis
) -> None:
    bench = Bench(store, connection, memory_mib=1024, measure=growing([192, 128]))
    assert bench.new_scheduler().world.reserve.memory_bytes == 192 * MIB
    bench.memory_mib = 2048
    assert bench.new_scheduler().world.reserve.memory_bytes == 128 * MIB


def test_a_budget_that_was_lowered_still_puts_work_down(store: JobStore, connection: redis.Redis) -> None:
    bench = Bench(store, connection, memory_mib=1024, measure=growing([128]))
    running = bench.submit(requests=Resources(1000, 896 * MIB).to_json())
    bench.look()
    bench.claim()
    bench.memory_mib = 1000
    bench.new_scheduler()
    bench.look()
    assert Ask.PREEMPT in bench.load(running).asks


def test_the_reserve_is_measured_again_as_soon_as_workers_register(
    store: JobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def measure(floor: Resources | None, workers: int) -> Resources:
        asked.append(workers)
        return floor or Resources()

    bench = Bench(store, connection, measure=measure)
    bench.look()
    alive = {"one": None, "two": None}
    monkeypatch.setattr("singlepoint.scheduler.runtime.loop.live_workers", lambda _connection, _home: alive)
    connection.sadd(f"rq:workers:{bench.queue.run.name}", "rq:worker:one", "rq:worker:two")
    bench.look()
    bench.look()
    assert asked == [0, 2]


def test_a_job_is_not_dispatched_while_a_process_of_an_earlier_attempt_lives(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    # The worker saw its child die and says so, but a grandchild still holds the lock.
    bench.index.tell(bench.store.move(job_id, Event.LOSE, bench.now, attempt=1, end="killed"))
    bench.look()
    assert bench.load(job_id).state is State.PENDING
    assert bench.scheduler.patience_s() == ANXIOUS_S
    bench.die(job_id)
    bench.look(ANXIOUS_S)
    assert (bench.load(job_id).state, bench.load(job_id).attempt) == (State.QUEUED, 2)


def test_a_job_that_moved_since_it_was_decided_on_is_left_as_it_is(bench: Bench) -> None:
    job_id = bench.submit()
    bench.store.move(job_id, Event.CANCEL, bench.now)
    job = bench.load(job_id)
    bench.look()
    assert bench.load(job_id) == job
    assert bench.queue.run_ids() == set()


def test_a_running_job_whose_bell_was_lost_is_read_within_a_second(bench: Bench) -> None:
    job_id, waiting = bench.submit(), bench.submit(requests={"cpu_millis": 2000})
    bench.look()
    bench.claim()
    bench.look(1.1)
    bench.note(job_id, Note.ASK, ask=Ask.PAUSE.value)
    bench.note(job_id, Note.PAUSE)
    bench.connection.delete(bench.index.key("bell"))
    bench.look(1.1)
    assert bench.load(waiting).state is State.QUEUED


def test_what_was_seen_of_a_lock_before_an_attempt_says_nothing_after_it(bench: Bench) -> None:
    """Begun and handed back between two looks, with its process still there: its room is not given away."""
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    bench.die(job_id)
    bench.ring(job_id)
    bench.look()  # rescued and dispatched again: the lock was seen free
    bench.claim()
    bench.store.move(job_id, Event.HAND_BACK, bench.now, attempt=2, end="drained")
    bench.ring(job_id)
    bench.look()
    assert bench.load(job_id).state is State.PENDING
    assert bench.scheduler.world.reserved.cpu_millis == 1000
    bench.die(job_id)
    bench.look(ANXIOUS_S)
    assert bench.load(job_id).attempt == 3


def test_what_a_running_attempt_tells_of_itself_reaches_the_world_within_a_second(bench: Bench) -> None:
    job_id = bench.submit()
    bench.look()
    bench.claim()
    bench.look()
    sample = Sample(1, bench.now, progress=0.25, cpu_s=3.0)
    bench.index.report_progress(job_id, {"progress": 0.25, "sample": sample.to_json()})
    bench.look(1.0)
    assert bench.scheduler.world.sample(job_id) == sample


def test_another_policy_counts_from_the_next_look_on(bench: Bench) -> None:
    """fifo keeps the small job behind the wide one; best-effort does not."""
    running, wide = bench.submit(), bench.submit(requests=Resources(2000, 512 * MIB).to_json())
    small = bench.submit()
    bench.look()
    assert bench.queue.run_ids() == {rq_id(running, 1)}
    bench.policy = "best-effort"
    bench.look()
    assert bench.queue.run_ids() == {rq_id(running, 1), rq_id(small, 1)}
    assert bench.index.told().first == wide


def test_a_policy_nobody_knows_is_the_default(bench: Bench) -> None:
    bench.policy = "nonsense"
    bench.look()
    assert bench.scheduler.rules.name == "feedback"
