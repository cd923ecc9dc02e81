"""The indexes that a decision reads hold what waits and what runs, and nothing of what left."""

from __future__ import annotations

import tracemalloc

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.policy.ageing import GUARD_S, LIFTED
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.world.books import Books
from singlepoint.scheduler.world.tasks import Holding, Task

CORE = Resources(1000)


def come_and_go(books: Books, jobs: int) -> None:
    """Each waits, gets room, and ends; long before time would have changed where it stands."""
    for _ in range(jobs):
        books.seen_at(books.now + 1)
        task = Task(f"job {books.now:.0f}", CORE, submitted_at=books.now, since=books.now)
        books.wait(task)
        books.stop_waiting(task.id)
        books.hold(Holding(task, CORE, (0,), since=books.now))
        books.let_go(task.id)


def test_what_came_and_went_leaves_nothing_behind() -> None:
    books = Books(Resources(2000), range(2), POLICIES["feedback"].ranking)
    tracemalloc.start()
    try:
        come_and_go(books, 3000)  # and Python's lists of tuples to use again are full
        before = tracemalloc.get_traced_memory()[0]
        come_and_go(books, 5000)
        assert tracemalloc.get_traced_memory()[0] < before + 20_000
    finally:
        tracemalloc.stop()


def test_whoever_stays_while_many_come_and_go_is_lifted_when_its_time_comes() -> None:
    books = Books(Resources(2000), range(2), POLICIES["feedback"].ranking)
    books.wait(Task("stays", Resources(2000), submitted_at=0.0, since=0.0))
    come_and_go(books, 1000)
    books.seen_at(GUARD_S - 1)
    assert books.standing("stays").rank[0] != LIFTED
    books.seen_at(GUARD_S + 1)
    assert books.standing("stays").rank[0] == LIFTED
