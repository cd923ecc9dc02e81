"""Draining is a fact of the home: it stands until it is taken back, and either may be said twice."""

from __future__ import annotations

from singlepoint.jobs.services.draining import drain, draining_since, end_drain
from singlepoint.jobs.store.home import Home


def test_a_home_is_drained_from_the_first_time_it_was_asked_until_that_is_taken_back(home: Home) -> None:
    assert draining_since(home) is None
    drain(home, 100.0)
    drain(home, 200.0)
    assert draining_since(home) == 100.0
    assert [end_drain(home), end_drain(home)] == [True, False]
    assert draining_since(home) is None


def test_a_file_made_by_hand_counts_too(home: Home) -> None:
    home.draining.touch()
    assert draining_since(home) == home.draining.stat().st_mtime
