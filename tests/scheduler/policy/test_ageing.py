"""Whoever has waited its time out goes in turn, and nobody is put in between for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.scheduler.policy.ageing import GUARD_S
from singlepoint.scheduler.policy.arrange import arrange
from singlepoint.scheduler.policy.named import POLICIES
from singlepoint.scheduler.policy.plan import Wait
from singlepoint.scheduler.world.books import Books
from singlepoint.scheduler.world.tasks import Holding, Task

LONG_AGO = Task("old", Resources(2000), submitted_at=0.0, since=0.0, served_s=90_000.0, priority=-5)
"""It has run for a day, so it is of the worst level, and of the worst priority."""

AGING = [POLICIES[name] for name in ("feedback", "easy", "fifo")]


@pytest.mark.parametrize("rules", AGING, ids=lambda rules: rules.name)
def test_of_those_that_were_lifted_the_first_goes_first_whatever_its_level_and_priority(rules) -> None:  # type: ignore[no-untyped-def]
    now = LONG_AGO.served_s + GUARD_S + 10
    later = replace(LONG_AGO, id="later", since=1.0, served_s=0.0, priority=9)
    new = replace(LONG_AGO, id="new", since=now, submitted_at=now, served_s=0.0, priority=9)
    orders = [rules.ranking(task, now, None).order for task in (LONG_AGO, later, new)]
    assert orders == sorted(orders)


def test_what_was_lifted_is_not_kept_waiting_by_work_that_nobody_would_put_down_for_it() -> None:
    """Of two cores one is busy with lifted work: the first in line needs both, and the other lifted job must wait."""
    rules, now = POLICIES["feedback"], LONG_AGO.served_s + GUARD_S + 10
    books = Books(Resources(2000), range(2), rules.ranking)
    books.seen_at(now)
    narrow = Task("narrow", Resources(1000), submitted_at=2.0, since=2.0)
    books.hold(Holding(replace(narrow, id="busy"), Resources(1000), (0,), since=now - 1))
    books.wait(LONG_AGO)
    books.wait(narrow)
    found = arrange(books, rules)
    assert found.starts == [] and found.put_down == []
    assert found.blocked == {"old": Wait.LACKS, "narrow": Wait.WOULD_DELAY}
    assert found.reservation is not None and found.reservation.task.id == "old"


def test_nobody_is_put_down_for_lifted_work_that_would_then_have_to_wait_for_other_lifted_work() -> None:
    """As above, and on the other core runs what was let in meanwhile: put down, it would be let in again, for ever."""
    rules, now = POLICIES["feedback"], LONG_AGO.served_s + GUARD_S + 10
    books = Books(Resources(2000), range(2), rules.ranking)
    books.seen_at(now)
    narrow = Task("narrow", Resources(1000), submitted_at=2.0, since=2.0)
    filler = Task("filler", Resources(1000), submitted_at=now - 3600, since=now - 3600)
    books.hold(Holding(replace(narrow, id="busy"), Resources(1000), (0,), since=now - 1))
    books.hold(Holding(filler, Resources(1000), (1,), since=now - 3600))
    books.wait(LONG_AGO)
    books.wait(narrow)
    found = arrange(books, rules)
    assert found.put_down == []
    assert found.blocked == {"old": Wait.LACKS, "narrow": Wait.WOULD_DELAY}


def test_the_place_of_lifted_work_is_kept_from_when_what_gives_way_may_be_put_down_not_from_when_it_would_end() -> None:
    """Or others like it would start meanwhile, again and again: what was let in anew would always end later."""
    rules, now = POLICIES["feedback"], LONG_AGO.served_s + GUARD_S + 10
    books = Books(Resources(3000), range(3), rules.ranking)
    books.seen_at(now)
    narrow = Task("narrow", Resources(1000), submitted_at=2.0, since=2.0, longest_s=3600.0)
    filler = Task("filler", Resources(1000), submitted_at=now - 1, since=now - 1, longest_s=1e6, switch_s=10.0)
    books.hold(Holding(replace(narrow, id="busy", longest_s=100.0), Resources(1000), (0,), since=now - 1))
    books.hold(Holding(filler, Resources(1000), (1,), since=now - 1))
    books.wait(replace(LONG_AGO, need=Resources(3000)))
    books.wait(narrow)
    found = arrange(books, rules)
    assert found.starts == [] and found.blocked["narrow"] is Wait.WOULD_DELAY
    assert found.reservation is not None and found.reservation.at == pytest.approx(now - 1 + 200)
