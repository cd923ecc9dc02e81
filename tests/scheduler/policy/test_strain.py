"""When the machine is short of memory, whoever takes it: nothing is started, and if it lasts, work is put down."""

from __future__ import annotations

import pytest

from singlepoint.jobs.lifecycle.states import Event
from singlepoint.scheduler.policy.host.strain import LASTS_S, Strain, judged
from singlepoint.scheduler.policy.plan import Dispatch, Preempt
from singlepoint.scheduler.simulation.paper import Paper


@pytest.mark.parametrize(
    ("before", "waited", "left", "is_strain"),
    [
        (False, 0.09, 0.04, False),
        (False, 0.11, 0.5, True),
        (False, None, 0.02, True),
        (True, 0.06, 0.5, True),  # it ends at a milder mark than it begins at
        (True, 0.0, 0.04, True),
        (True, 0.04, 0.05, False),
        (True, None, None, False),  # the kernel does not tell
    ],
)
def test_it_begins_at_one_mark_and_ends_at_a_milder(
    before: bool, waited: float | None, left: float | None, is_strain: bool
) -> None:
    earlier = Strain("so it was", 5.0) if before else None
    found = judged(earlier, waited, left, 9.0)
    assert (found is not None) is is_strain
    assert found is None or found.since == (5.0 if before else 9.0)


def at_work(*, preemptible: tuple[bool, ...] = (True, True)) -> Paper:
    """One core a job that runs, and another that waits."""
    paper = Paper(cpu=len(preemptible))
    for number, may in enumerate(preemptible):
        paper.submit(f"j{number}", preemptible=may)
    paper.settle()
    for number in range(len(preemptible)):
        paper.claim(f"j{number}")
    paper.submit("waits")
    return paper


def test_nothing_is_started_and_everybody_is_told_why() -> None:
    paper = at_work()
    paper.strain = judged(None, 0.4, 0.01, paper.now)
    paper.end("j0")
    assert paper.settle() == []
    assert paper.reason("waits") == (
        "nothing is started: the machine is short of memory: tasks wait for memory 40% of the time, "
        "1.0% of its memory can still be had"
    )
    paper.strain = None
    assert [type(decision) for decision in paper.settle()] == [Dispatch]


def test_if_it_lasts_the_least_important_work_is_put_down_one_at_a_time() -> None:
    paper = at_work()
    paper.strain = judged(None, 0.4, None, paper.now)
    paper.pass_time(LASTS_S - 1)
    assert paper.settle() == []
    paper.pass_time(1)
    assert paper.settle() == [Preempt("j1", 1)]
    paper.pass_time(LASTS_S)
    assert paper.settle() == [], "one leaves already"
    paper.end("j1", Event.HAND_BACK)
    assert paper.settle() == [Preempt("j0", 1)]


def test_what_must_not_be_put_down_runs_on() -> None:
    paper = at_work(preemptible=(False, False))
    paper.strain = judged(None, 0.4, None, paper.now - LASTS_S)
    assert paper.settle() == []
