"""The newest jobs that came are remembered, each once, in the order in which they came."""

from __future__ import annotations

import random

from singlepoint.jobs.lifecycle.records import Job, Resources
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.world.learned.arrivals import REMEMBERED, Arrivals


def arrived(at: float) -> Job:
    return Job(f"at {at}", "n", "train", State.PENDING, at, Resources())


def test_after_the_clock_was_set_back_those_that_come_are_the_newest() -> None:
    arrivals = Arrivals()
    for n in range(REMEMBERED):
        arrivals.came(arrived(10_000.0 + n))
    arrivals.set_back(10_010.0)
    arrivals.came(arrived(10_010.5))
    assert [job.submitted_at for job in arrivals] == [*(10_000.0 + n for n in range(11)), 10_010.5]


def test_the_newest_are_remembered_in_order_and_once_however_they_are_told() -> None:
    jobs = [Job(str(n), "n", "train", State.PENDING, float(n), Resources()) for n in range(3 * REMEMBERED)]
    told = jobs * 2
    random.Random(1).shuffle(told)
    arrivals = Arrivals()
    for job in told:
        arrivals.came(job)
    assert list(arrivals) == jobs[-REMEMBERED:]
