"""The line is in order whatever happens to it, and asks about blocks change nobody's turn."""

from __future__ import annotations

import random

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.world.line import BLOCK, Claim, Order, Queue
from singlepoint.scheduler.world.tasks import Rank, Task


def a_task(number: int, chance: random.Random) -> tuple[Order, Task]:
    need = Resources(1000 * chance.randint(1, 8), chance.randint(1, 10**6))
    task = Task(f"t{number}", need, float(number), float(number), longest_s=chance.uniform(1, 1e5))
    return (0, -chance.randint(0, 3), 0, chance.random(), task.id), task


def test_whoever_may_start_is_found_in_order_and_nobody_is_left_out() -> None:
    chance = random.Random(1)
    queue, known = Queue(), dict(a_task(number, chance) for number in range(5 * BLOCK))
    for order, task in known.items():
        queue.add(order, task)
    for order in chance.sample(list(known), 3 * BLOCK):
        queue.remove(order, known[order])
        del known[order]
    in_order = [known[order] for order in sorted(known)]
    assert list(queue) == in_order

    room = Resources(2000, 10**5)

    def fits(_rank: Rank, claim: Claim) -> bool:
        return claim.need.fits_in(room) and claim.longest_s < 5e4

    assert list(queue.which(fits)) == [task for task in in_order if fits((0, 0, 0), task)]


def test_of_twenty_thousand_shapes_that_do_not_fit_few_are_asked() -> None:
    chance = random.Random(2)
    queue = Queue()
    for number in range(20_000):
        queue.add(*a_task(number, chance))
    asked = 0

    def never(_rank: Rank, claim: Claim) -> bool:
        nonlocal asked
        asked += 1
        return claim.need.fits_in(Resources())

    assert list(queue.which(never)) == []
    assert asked <= 2 * (20_000 // BLOCK + 8)
