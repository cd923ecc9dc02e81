"""Every waiting job has a reason, and what a row's reader concludes is what the scheduler knows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.reasons import Told, Why, why
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.policy.shortage import told
from singlepoint.scheduler.simulation.forecast import foresee
from singlepoint.scheduler.simulation.paper import Paper, budget
from singlepoint.scheduler.simulation.scene import scene_of
from singlepoint.scheduler.world.places import Place
from tests.scheduler.pretend import a_dependency


@pytest.fixture
def paper() -> Paper:
    """One core; `run` is running, `first` and `second` wait for it."""
    paper = Paper(cpu=1, memory_mib=1024)
    paper.submit("run")
    paper.settle()
    paper.claim("run")
    for job_id in ("first", "second"):
        paper.now += 1
        paper.submit(job_id, memory_mib=1000)
    paper.settle()
    return paper


def test_the_first_says_what_it_lacks_and_those_behind_who_is_in_front(paper: Paper) -> None:
    assert paper.reason("first") == "first in line; needs 1 core (0 cores free), 1000 MiB of memory (512 MiB free)"
    assert paper.reason("second") == "behind first"


def test_when_nobody_waits_nothing_is_said() -> None:
    assert told(Paper().world, decide(Paper().world, POLICIES["fifo"])) == Told()


def test_a_running_job_says_what_was_asked_of_it_and_by_whom(paper: Paper) -> None:
    assert paper.reason("run") is None
    paper.note("run", Note.ASK, ask=Ask.PREEMPT, by="scheduler")
    assert paper.reason("run") == "asked to make room for other work"
    paper.note("run", Note.ASK, ask=Ask.CANCEL)
    assert paper.reason("run") == "asked to stop, asked to make room"


def test_paused_held_backing_off_and_ending_jobs_say_so(paper: Paper) -> None:
    paper.note("first", Note.HOLD)
    assert paper.reason("first") == "paused: `singlepoint resume first`"
    paper.note("run", Note.ASK, ask=Ask.PAUSE)
    paper.note("run", Note.PAUSE)
    assert (paper.reason("run") or "").startswith("paused, holding its memory")
    paper.move("run", Event.LOSE, attempt=1, end="failed", cause="ValueError", not_before=paper.now + 9)
    paper.note("run", Note.RESUME)
    assert paper.reason("run") == "attempt 1 is still ending: a process of it holds the job's lock"
    paper.die("run")
    assert (paper.reason("run") or "").endswith("Z (ValueError)")


def test_a_paused_job_that_goes_on_comes_before_those_behind_it() -> None:
    paper = Paper(cpu=1)
    paper.submit("paused")
    paper.settle()
    paper.claim("paused")
    paper.note("paused", Note.ASK, ask=Ask.PAUSE)
    paper.note("paused", Note.PAUSE)
    paper.submit("run")
    paper.submit("next")
    paper.settle()
    paper.note("paused", Note.RESUME)
    paper.settle()
    assert paper.reason("next") == "behind paused"
    assert paper.reason("paused") == "goes on when it gets its cores"


def test_a_lowered_budget_is_a_reason(paper: Paper) -> None:
    paper.world.budget_changed(budget(1, 100), Resources())
    paper.submit("tiny", memory_mib=1)
    assert (paper.reason("tiny") or "").startswith("waits until work ends or is put down")


AGREE = {
    Place.RUNNING: {Why.RUNNING, Why.ASKED, Why.PAUSED, Why.RESUMING},  # the last: it was given cores just now
    Place.RESUMING: {Why.RESUMING, Why.ASKED},
    Place.QUEUED: {Why.QUEUED, Why.ASKED},
    Place.ENDING: {Why.ENDING},
    Place.DOOMED: {Why.DOOMED},
    Place.HELD: {Why.HELD},
    Place.AFTER: {Why.AFTER},
    Place.DELAYED: {Why.DELAYED, Why.BEGINS},
    Place.OVERSIZED: {Why.OVERSIZED},
    Place.READY: {Why.LINE, Why.DRAINING},
}


@pytest.mark.parametrize("policy", POLICIES)
def test_in_any_world_a_reader_of_rows_concludes_what_the_scheduler_knows(policy: str) -> None:
    seen: set[Place] = set()
    for seed in range(40):
        chance = random.Random(f"{policy}{seed}")
        paper = Paper(cpu=3, memory_mib=2048, rules=POLICIES[policy])
        for number in range(14):
            after = [a_dependency(chance, number)] if number and chance.random() < 0.3 else []
            begins = {"begin_at": iso(paper.now + 200 * chance.random())} if chance.random() < 0.2 else {}
            cpu, memory_mib = chance.randint(1, 3), chance.randint(1, 2500)
            begins |= {"project": chance.choice(["", "a", "b"]), "preemptible": chance.random() < 0.8}
            paper.submit(f"j{number}", cpu=cpu, memory_mib=memory_mib, after=after, **begins)
            something_happens(paper, chance)
            seen |= assert_agreement(paper)
        assert_foreseen(paper)
    assert seen == set(Place) - {Place.DOOMED}, "a doomed job fails at once"


def assert_agreement(paper: Paper) -> set[Place]:
    places = {job_id: paper.world.place(job_id) for job_id in paper.unfinished}
    around = paper.surroundings()
    for job_id, place in places.items():
        assert place is not None
        row = summary(paper.jobs[job_id])
        assert why(row, around) in AGREE[place], (job_id, place)
        assert paper.reason(job_id) or place is Place.RUNNING
    return {place for place in places.values() if place}


FORESEEN = {Place.RUNNING, Place.QUEUED, Place.READY, Place.RESUMING, Place.AFTER, Place.DELAYED, Place.ENDING}


def assert_foreseen(paper: Paper) -> None:
    """Only what may start or runs has times, none of them past; a dependent's are after what it comes after."""
    etas = foresee(scene_of(paper.world, paper.rules)).eta
    for job_id, eta in etas.items():
        assert paper.world.place(job_id) in FORESEEN
        assert eta.start is None or paper.now <= eta.start[0] <= eta.end[0]
        job = paper.jobs[job_id]
        waits_for = [] if job.attempts else [one.job for one in job.after if one.job in paper.unfinished]
        for other in waits_for:
            assert eta.start is not None
            assert all(at >= end for at, end in zip(eta.start, etas[other].end, strict=True)), (job_id, other)


def something_happens(paper: Paper, chance: random.Random) -> None:
    paper.pass_time(chance.random() * 100)
    paper.settle()
    for job_id in paper.in_state(State.QUEUED):
        if chance.random() < 0.8:
            paper.claim(job_id)
    for job_id in paper.in_state(State.RUNNING):
        if chance.random() < 0.6:
            chance.choice(HAPPENINGS)(paper, job_id)
    for job_id in paper.in_state(State.PENDING):
        if chance.random() < 0.1:
            paper.note(job_id, chance.choice([Note.HOLD, Note.RESUME]))
    paper.world.draining = chance.random() < 0.1
    paper.world.books.drains_at = paper.now + 50 if chance.random() < 0.1 else math.inf
    paper.look_at_locks()
    paper.settle()


def backs_off(paper: Paper, job_id: str) -> None:
    paper.move(job_id, Event.LOSE, attempt=paper.jobs[job_id].attempt, end="failed", not_before=paper.now + 9)


def grows(paper: Paper, job_id: str) -> None:
    paper.end(job_id, Event.LOSE, end="out_of_memory", requests=Resources(1000, 2**40).to_json())


def is_paused(paper: Paper, job_id: str, by: str) -> None:
    if Ask.PAUSE not in paper.jobs[job_id].asks:
        paper.note(job_id, Note.ASK, ask=Ask.PAUSE, by=by)
        paper.note(job_id, Note.PAUSE)


def stands_aside(paper: Paper, job_id: str) -> None:
    """Its owner pauses it, until others have its cores."""
    is_paused(paper, job_id, "user")
    paper.settle()
    paper.note(job_id, Note.RESUME)


HAPPENINGS: list[Callable[[Paper, str], object]] = [
    lambda paper, job_id: paper.end(job_id),
    lambda paper, job_id: paper.end(job_id, Event.FAIL),
    backs_off,
    lambda paper, job_id: (backs_off(paper, job_id), paper.die(job_id)),
    grows,
    lambda paper, job_id: is_paused(paper, job_id, "user"),
    lambda paper, job_id: is_paused(paper, job_id, "scheduler"),
    lambda paper, job_id: paper.note(job_id, Note.RESUME),
    stands_aside,
    lambda paper, job_id: paper.note(job_id, Note.ASK, ask=Ask.CANCEL),
]
