"""Start and end are told by playing the queue forward."""

from __future__ import annotations

import pytest

from singlepoint.jobs.lifecycle.ledger import Account, Entry
from singlepoint.jobs.lifecycle.records import Sample
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.simulation.forecast import forecast
from singlepoint.scheduler.simulation.paper import Paper


@pytest.fixture
def paper() -> Paper:
    """One core. `run` has done half in 100 s; `next` and `last` wait, and their like took 50 s, often."""
    paper = Paper(cpu=1)
    entry = Entry("x", 1, State.SUCCEEDED, "n", "train", 0.0, 50.0, like="fifty", account=Account(wall_s=50.0))
    paper.world.experience.learn([entry] * 20)
    paper.submit("run")
    paper.settle()
    paper.claim("run")
    paper.submit("next", like="fifty")
    paper.submit("last", like="fifty")
    paper.pass_time(100)
    paper.world.sampled({"run": Sample(1, paper.now, progress=0.5, wall_s=100.0)})
    paper.settle()
    return paper


def test_each_waits_for_those_before_it_and_the_interval_holds_the_middle(paper: Paper) -> None:
    found = forecast(paper.world, POLICIES["fifo"])
    assert found["run"].start is None
    assert found["run"].end[1] - paper.now == pytest.approx(100, rel=0.1)
    assert found["next"].start is not None and found["last"].start is not None
    assert found["next"].start[1] - paper.now == pytest.approx(100, rel=0.1)
    assert found["last"].end[1] - paper.now == pytest.approx(200, rel=0.1)
    for eta in found.values():
        assert eta.end[0] <= eta.end[1] <= eta.end[2]


def test_the_same_queue_has_the_same_forecast_and_looking_ahead_changes_nothing(paper: Paper) -> None:
    free, waiting = paper.world.free, list(paper.world.books.waiting())
    assert forecast(paper.world, POLICIES["feedback"]) == forecast(paper.world, POLICIES["feedback"])
    assert (paper.world.free, list(paper.world.books.waiting())) == (free, waiting)


def test_an_idle_machine_has_nothing_to_foresee() -> None:
    assert forecast(Paper().world, POLICIES["feedback"]) == {}


def test_what_is_known_of_the_remaining_work_decides_who_goes_first(paper: Paper) -> None:
    assert paper.world.books.task("next") is not None
    task = paper.world.books.task("next")
    assert task is not None and task.expected_s == pytest.approx(50, rel=0.01)


def test_like_jobs_keep_their_order_whenever_they_came_and_whatever_was_learned_meanwhile() -> None:
    paper = Paper(cpu=1, rules=POLICIES["feedback"])
    for number in range(4):
        paper.submit(f"early{number}", like="same")
    for number in range(8):
        paper.settle()
        (job_id,) = paper.in_state(State.QUEUED)
        paper.claim(job_id)
        paper.pass_time(1.0 + 0.1 * (number % 3))
        paper.end(job_id)
        if number < 4:
            paper.submit(f"late{number}", like="same")
    assert paper.dispatched() == [f"early{n}" for n in range(4)] + [f"late{n}" for n in range(4)]
