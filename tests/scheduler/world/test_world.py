"""The world's books are true whatever order things are seen in, and looking again changes nothing."""

from __future__ import annotations

import random

import pytest

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources, Sample
from singlepoint.jobs.lifecycle.spent import account, account_of_round
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation.paper import BOOT, Paper, budget
from singlepoint.scheduler.world import world
from singlepoint.scheduler.world.learned.reliability import Evidence, evidence_of
from singlepoint.scheduler.world.line import Line, key
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.world import LEAVING_S, World
from tests.scheduler.pretend import a_dependency


def test_a_line_is_sorted_and_knows_positions() -> None:
    paper = Paper()
    jobs = [paper.submit(f"j{n}", priority=n % 2) for n in range(6)]
    line = Line()
    for job in random.Random(0).sample(jobs, 6):
        line.add(key(job))
    assert list(line) == ["j1", "j3", "j5", "j0", "j2", "j4"]
    assert line.first == "j1"
    assert line.position(key(jobs[5])) == 2
    line.remove(key(jobs[5]))
    assert list(line) == ["j1", "j3", "j0", "j2", "j4"]
    assert Line().first is None


def test_seeing_a_job_again_changes_nothing() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    reserved = paper.world.reserved
    for _ in range(3):
        paper.world.see(paper.jobs["a"])
    assert paper.world.reserved == reserved == Resources(1000, 512 * 2**20)
    assert list(paper.world.lines[Place.QUEUED]) == ["a"]


def test_what_is_too_large_for_a_while_has_waited_all_along_and_what_is_held_has_not() -> None:
    paper = Paper()
    whole, half = paper.world.budget, budget(2, 2048)
    large, held = (paper.submit(job_id, memory_mib=3000) for job_id in ("large", "held"))
    paper.world.budget_changed(half, Resources())
    paper.note("held", Note.HOLD)
    assert [paper.world.place(job.id) for job in (large, held)] == [Place.OVERSIZED, Place.HELD]

    paper.pass_time(3600)
    paper.note("held", Note.RESUME)
    paper.pass_time(3600)
    paper.world.budget_changed(whole, Resources())
    since = {task.id: task.since for task in paper.world.books.waiting()}
    assert since == {"large": large.submitted_at, "held": paper.now - 3600}


def test_a_change_of_priority_moves_a_job_in_the_line() -> None:
    paper = Paper()
    for job_id in ("a", "b", "c"):
        paper.submit(job_id)
    paper.note("c", Note.PRIORITISE, priority=3)
    assert list(paper.world.lines[Place.READY]) == ["c", "a", "b"]


def test_a_new_world_that_sees_the_same_histories_and_locks_is_the_same() -> None:
    for seed in range(30):
        paper = a_random_life(random.Random(seed))
        fresh = World(paper.world.budget, paper.world.cores, boot_id=BOOT).seen_at(paper.now)
        for job_id in random.Random(seed).sample(sorted(paper.jobs), len(paper.jobs)):
            fresh.see(paper.jobs[job_id])
        taught = (account_of_round(job) for job in paper.jobs.values() if job.is_final)  # what the ledger has of them
        fresh.learned(sum(map(evidence_of, taught), Evidence()), Evidence())
        for job_id in paper.jobs:
            if fresh.job(job_id) is not None:
                fresh.lock_seen(job_id, job_id in paper.alive)
        assert {j: fresh.place(j) for j in paper.jobs} == {j: paper.world.place(j) for j in paper.jobs}
        assert {p: list(line) for p, line in fresh.lines.items()} == {
            p: list(line) for p, line in paper.world.lines.items()
        }
        assert (fresh.reserved, fresh.books.free_cores) == (paper.world.reserved, paper.world.books.free_cores)
        known, again = fresh.reliability.evidence, paper.world.reliability.evidence
        assert known.deaths == again.deaths and abs(known.exposure_ms - again.exposure_ms) <= len(paper.jobs)


def test_what_a_job_came_to_is_what_its_attempts_came_to_together() -> None:
    for seed in range(30):
        for job in a_random_life(random.Random(seed)).jobs.values():
            ended = [one for one in job.attempts if one.ended_at is not None]
            assert job.round == account(one for one in ended if one.number > job.retried_after)
            assert job.worked_s == sum(one.worked_s(0.0) for one in ended)
            saved = [one.usage.save_s for one in ended if one.usage and one.usage.saves]
            assert job.save_s == (saved[-1] if saved else None)
            assert job.has_grown == any(one.end == "out_of_memory" for one in ended)


def a_random_life(chance: random.Random) -> Paper:
    paper = Paper(cpu=3, memory_mib=2048)
    for number in range(15):
        after = [a_dependency(chance, number)] if number and chance.random() < 0.3 else []
        paper.submit(f"j{number}", cpu=chance.randint(1, 3), memory_mib=chance.randint(1, 2500), after=after)
        paper.settle()
        for job_id in paper.in_state(State.QUEUED):
            paper.claim(job_id)
        for job_id in paper.in_state(State.RUNNING):
            event, end = chance.choice([(Event.SUCCEED, "succeeded"), (Event.FAIL, "failed"), (Event.LOSE, "killed")])
            if chance.random() < 0.5:
                paper.end(job_id, event, end=end)
        paper.pass_time(chance.random())
    paper.look_at_locks()
    return paper


def test_a_forgotten_job_leaves_nothing_behind() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.world.forget("a")
    paper.pass_time(LEAVING_S + 0.1)
    assert paper.world.reserved == Resources()
    assert paper.world.books.free_cores == [0, 1]
    assert list(paper.world.ids()) == []
    assert all(len(line) == 0 for line in paper.world.lines.values())


def test_a_core_that_left_the_budget_stays_with_its_attempt_and_is_not_granted_again() -> None:
    paper = Paper(cpu=2)
    paper.submit("a")
    paper.submit("b")
    paper.settle()
    paper.claim("a")
    paper.claim("b")
    paper.world.budget_changed(paper.world.budget, Resources(), [1, 2, 3])
    assert paper.world.books.free_cores == [2, 3]


def test_running_time_is_exposure_before_the_attempt_ends() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    before = paper.world.reliability.overall.rate_per_s
    paper.pass_time(3600)
    assert paper.world.reliability.exposure_s == 3600
    assert paper.world.reliability.overall.rate_per_s < before


def test_a_sample_of_an_attempt_that_was_replaced_is_not_taken_for_the_newest() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.world.sampled({"a": Sample(1, paper.now, progress=0.5), "gone": Sample(1, paper.now)})
    sample = paper.world.sample("a")
    assert sample is not None and sample.progress == 0.5
    paper.end("a", Event.HAND_BACK)
    paper.settle()
    paper.world.sampled({"a": Sample(1, paper.now, progress=0.5)})
    assert paper.world.sample("a") is None and paper.world.sample("gone") is None


def test_what_a_removed_job_was_granted_stays_taken_until_its_process_must_have_ended() -> None:
    paper = Paper(cpu=1)
    paper.submit("first")
    paper.settle()
    paper.claim("first")
    paper.world.forget("first")
    assert paper.world.reserved.cpu_millis == 1000 and paper.world.books.free_cores == []
    paper.world.seen_at(paper.world.now + LEAVING_S + 0.1)
    assert paper.world.reserved.cpu_millis == 0 and paper.world.books.free_cores == [0]


def test_where_many_wait_they_stand_by_what_was_learned_a_little_later_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(world, "RANKED_AT_ONCE", 2)
    paper = Paper(cpu=1, rules=POLICIES["feedback"])
    paper.submit("first", like="quick")
    paper.settle()
    paper.claim("first")
    for number in range(3):
        paper.submit(f"unknown {number}", kind="run")
    for number in range(3):
        paper.submit(f"quick {number}", like="quick")
    before = [task.id for task in paper.world.books.waiting()]
    paper.pass_time(1.0)
    paper.end("first")
    assert [task.id for task in paper.world.books.waiting()] == before
    slices = paper.world.expectations()
    next(slices)
    paper.move("quick 2", Event.CANCEL)
    assert len(list(slices)) == 2, "two jobs each"
    assert [task.id for task in paper.world.books.waiting()] == ["quick 0", "quick 1", *before[:3]]
    assert list(paper.world.expectations()) == []
