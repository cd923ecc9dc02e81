"""Draining is a fact of the home: from when on, and until when, or until it is taken back; either may be said twice."""

from __future__ import annotations

import math
import os
import signal

import pytest

from singlepoint.jobs import failpoints
from singlepoint.jobs.clock import iso
from singlepoint.jobs.services.draining import Drain, drain, end_drain, planned_drain
from singlepoint.jobs.store.home import Home

NOON = 1_000_000.0


def test_a_home_is_drained_from_the_first_time_it_was_asked_until_that_is_taken_back(home: Home) -> None:
    assert planned_drain(home, NOON) is None
    drain(home, Drain(NOON), NOON)
    drain(home, Drain(NOON + 100), NOON + 100)
    assert planned_drain(home, NOON + 200) == Drain(NOON)
    assert [end_drain(home, NOON + 300), end_drain(home, NOON + 300)] == [True, False]
    assert planned_drain(home, NOON + 300) is None


def test_a_planned_drain_begins_and_ends_by_itself_and_another_takes_its_place(home: Home) -> None:
    drain(home, Drain(NOON + 100, NOON + 200), NOON)
    drain(home, Drain(NOON + 150, NOON + 250), NOON)
    plan = planned_drain(home, NOON)
    assert plan is not None
    assert [plan.holds(NOON + later) for later in (149, 150, 249, 250)] == [False, True, True, False]
    assert [plan.next_change(NOON + later) for later in (0, 150, 250)] == [NOON + 150, NOON + 250, math.inf]
    assert planned_drain(home, NOON + 250) is None
    assert not end_drain(home, NOON + 250), "there was nothing left to end"


@pytest.mark.parametrize("content", ["", "soon", "{", '{"begins_at": 7}'])
def test_a_file_made_by_hand_counts_from_when_it_was_made(home: Home, content: str) -> None:
    home.draining.write_text(content)
    assert planned_drain(home, NOON) == Drain(home.draining.stat().st_mtime)


def test_what_version_0_1_wrote_is_read(home: Home) -> None:
    home.draining.write_text(iso(NOON))
    assert planned_drain(home, NOON + 1) == Drain(NOON)


def test_killed_before_the_plan_is_written_there_is_none_and_after_that_it_holds(home: Home) -> None:
    pid = os.fork()
    if not pid:
        failpoints._SETTING = "drain:kill"
        drain(home, Drain(NOON), NOON)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert planned_drain(home, NOON) is None
    drain(home, Drain(NOON), NOON)
    assert planned_drain(home, NOON) == Drain(NOON)
