"""U(t) in its three readings."""

from __future__ import annotations

from typing import Any

import pytest

from singlepoint.jobs.lifecycle.records import UNLIMITED, Attempt, Resources, Terms, Usage
from singlepoint.jobs.lifecycle.spent import account
from singlepoint.scheduler.reporting.utilisation import of_account, shares

BUDGET = Resources(2000, 1000, UNLIMITED, UNLIMITED)


def an_attempt(begin: float, until: float | None, **more: Any) -> Attempt:
    terms = Terms(Resources(1000, 500), (0,))
    return Attempt(1, begin, terms, started_at=begin, ended_at=until, **more)


def test_shares_are_of_the_budget_and_only_of_what_is_limited() -> None:
    assert shares(Resources(1000, 250), BUDGET) == {"cpu_millis": 0.5, "memory_bytes": 0.25}


def test_u_at_100_is_what_is_granted_at_100() -> None:
    running = [a for a in (an_attempt(0, 150), an_attempt(90, 110), an_attempt(120, 130)) if a.dispatched_at <= 100]
    granted = sum((a.terms.resources for a in running), Resources())
    assert shares(granted, BUDGET)["cpu_millis"] == 1.0


def test_used_is_what_was_measured_and_useful_is_less_saves_and_repeated_work() -> None:
    usage = Usage(wall_s=100, cpu_s=80, peak_memory_bytes=200, saves=5, save_s=2, overhead_s=10)
    reading = of_account(account([an_attempt(1, 101, end="killed", usage=usage, lost_s=15.0)]), BUDGET, 101)
    assert reading is not None
    assert reading.used == {"cpu_millis": pytest.approx(0.4), "memory_bytes": pytest.approx(0.2)}
    assert reading.useful["cpu_millis"] == pytest.approx((80 - 10) * 0.85 / 200)


@pytest.mark.parametrize("end", ["failed", "crashed"])
def test_a_failed_attempt_was_of_no_use(end: str) -> None:
    usage = Usage(wall_s=100, cpu_s=80)
    reading = of_account(account([an_attempt(1, 101, end=end, usage=usage)]), BUDGET, 101)
    assert reading is not None
    assert reading.useful["cpu_millis"] == 0.0


def test_before_anything_ran_there_is_no_reading() -> None:
    assert of_account(account([]), BUDGET, 100) is None
