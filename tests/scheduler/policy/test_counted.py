"""What the owner counts (graphics processors, licences) is granted by number, and never twice at a time."""

from __future__ import annotations

from dataclasses import replace

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Event, State
from singlepoint.scheduler.policy.plan import Dispatch, Preempt
from singlepoint.scheduler.simulation.paper import Paper
from singlepoint.scheduler.world.places import Place


def with_counted(**counted: int) -> Paper:
    paper = Paper(cpu=4)
    change_budget(paper, **counted)
    return paper


def change_budget(paper: Paper, **counted: int) -> None:
    budget = replace(paper.world.budget, counted=tuple(sorted(counted.items())))
    paper.world.budget_changed(budget, Resources())


def submit(paper: Paper, job_id: str, **counted: int) -> None:
    paper.submit(job_id, requests={"cpu_millis": 1000, "memory_bytes": 2**20, "counted": counted})


def units(paper: Paper) -> dict[str, tuple[int, ...]]:
    """The numbers of the gpus that each open job has."""
    return {
        job_id: job.terms.units.get("gpu", ())
        for job_id, job in paper.unfinished.items()
        if job.terms is not None and job.state in (State.QUEUED, State.RUNNING)
    }


def test_each_job_gets_numbers_of_its_own_and_the_rest_wait() -> None:
    paper = with_counted(gpu=3)
    for job_id, count in (("two", 2), ("none", 0), ("one", 1), ("late", 1)):
        submit(paper, job_id, **({"gpu": count} if count else {}))
    paper.settle()
    assert units(paper) == {"two": (0, 1), "none": (), "one": (2,)}
    assert paper.reason("late") == "first in line; needs 1 gpu (0 gpu free)"

    paper.claim("two")
    paper.end("two")
    paper.settle()
    assert units(paper) == {"none": (), "one": (2,), "late": (0,)}


def test_one_that_nobody_has_can_never_start_until_the_owner_says_that_there_is_one() -> None:
    paper = with_counted()
    submit(paper, "a", licence=1)
    assert paper.settle() == []
    assert paper.world.place("a") is Place.OVERSIZED
    change_budget(paper, licence=1)
    assert [type(decision) for decision in paper.settle()] == [Dispatch]


def test_when_there_are_fewer_of_them_work_that_has_one_is_put_down_and_no_other() -> None:
    paper = with_counted(gpu=2)
    for job_id, counted in (("other", {}), ("first", {"gpu": 1}), ("second", {"gpu": 1})):
        submit(paper, job_id, **counted)
    paper.settle()
    for job_id in ("other", "first", "second"):
        paper.claim(job_id)
    change_budget(paper, gpu=1)
    assert paper.settle() == [Preempt("second", 1)]
    paper.end("second", Event.HAND_BACK)
    assert paper.settle() == []


def test_whoever_stands_paused_keeps_its_numbers() -> None:
    paper = with_counted(gpu=1)
    submit(paper, "a", gpu=1)
    submit(paper, "b", gpu=1)
    paper.settle()
    paper.claim("a")
    paper.note("a", Note.ASK, ask="pause", by="user")
    paper.note("a", Note.PAUSE)
    paper.settle()
    assert units(paper) == {"a": (0,)}
    assert paper.world.free == paper.world.room - paper.granted()
