"""The newest jobs that came are remembered, each once, in the order in which they came."""

from __future__ import annotations

import random

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.world.learned.arrivals import REMEMBERED, Arrivals
from singlepoint.scheduler.world.tasks import Task


def test_the_newest_are_remembered_in_order_and_once_however_they_are_told() -> None:
    tasks = [Task(str(number), Resources(1000), float(number), float(number)) for number in range(3 * REMEMBERED)]
    told = tasks * 2
    random.Random(1).shuffle(told)
    arrivals = Arrivals()
    for task in told:
        arrivals.came(task, "like")
    assert [one.task for one in arrivals] == tasks[-REMEMBERED:]
