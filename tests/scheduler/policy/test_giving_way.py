"""Running work gives way to work of a better level, once: the cores go to whom they were freed for, not back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.scheduler.policy import feedback
from singlepoint.scheduler.policy.plan import Dispatch, Pause, Preempt, Resume
from singlepoint.scheduler.simulation.paper import Paper


def a_long_one_runs(seconds: float) -> Paper:
    paper = Paper(cpu=1, rules=feedback.RULES)
    paper.submit("long")
    paper.settle()
    paper.claim("long")
    paper.pass_time(seconds)
    return paper


def test_a_job_that_is_not_to_be_put_down_runs_on_and_only_its_owner_can_pause_it() -> None:
    paper = Paper(cpu=1, rules=feedback.RULES)
    paper.submit("long", preemptible=False)
    paper.settle()
    paper.claim("long")
    paper.pass_time(300)
    paper.submit("short", priority=5)
    assert paper.settle() == []
    paper.world.draining = True
    assert [type(one) for one in paper.settle()] == [Preempt]


def test_a_clock_that_is_set_back_an_hour_lets_nobody_run_undisturbed_for_that_hour() -> None:
    paper = a_long_one_runs(300)
    paper.pass_time(-3600)
    paper.pass_time(300)
    paper.submit("short")
    assert [type(one) for one in paper.settle()] == [Pause]


def test_the_cores_of_who_was_paused_go_to_whom_it_was_paused_for() -> None:
    paper = a_long_one_runs(300)
    paper.submit("short")

    assert [type(one) for one in paper.settle()] == [Pause]
    paper.note("long", Note.PAUSE, attempt=1)
    assert [(type(one), one.job_id) for one in paper.settle()] == [(Dispatch, "short")]


def test_who_was_paused_goes_on_when_the_short_one_has_ended() -> None:
    paper = a_long_one_runs(300)
    paper.submit("short")
    paper.settle()
    paper.note("long", Note.PAUSE, attempt=1)
    paper.settle()
    paper.claim("short")
    paper.pass_time(5)
    paper.end("short")

    assert [(type(one), one.job_id) for one in paper.settle()] == [(Resume, "long")]
    paper.note("long", Note.GO_ON, attempt=1)
    assert not paper.jobs["long"].paused and Ask.PAUSE not in paper.jobs["long"].asks


@pytest.mark.parametrize("ask", [Ask.PREEMPT, Ask.CANCEL])
def test_who_stands_still_and_is_asked_to_leave_is_granted_no_cores_meanwhile(ask: Ask) -> None:
    paper = a_long_one_runs(300)
    paper.submit("short")
    paper.settle()
    paper.note("long", Note.PAUSE, attempt=1)
    paper.note("long", Note.ASK, ask=ask, by="scheduler")

    assert [(type(one), one.job_id) for one in paper.settle()] == [(Dispatch, "short")]
    paper.claim("short")
    paper.end("short")
    assert paper.settle() == []


def test_time_that_an_attempt_stood_still_is_no_time_it_was_served() -> None:
    paper = a_long_one_runs(300)
    paper.submit("short")
    paper.settle()
    paper.note("long", Note.PAUSE, attempt=1)
    paper.pass_time(1000)
    assert paper.jobs["long"].attempts[-1].worked_s(paper.now) == pytest.approx(300, abs=0.01)

    paper.note("long", Note.RESUME)
    paper.note("long", Note.GO_ON, attempt=1)
    paper.pass_time(50)
    assert paper.jobs["long"].attempts[-1].worked_s(paper.now) == pytest.approx(350, abs=0.01)
    paper.end("long", Event.LOSE, end="killed")
    paper.pass_time(1000)
    assert paper.jobs["long"].state is State.PENDING
    assert paper.jobs["long"].attempts[-1].worked_s(paper.now) == pytest.approx(350, abs=0.01)


def test_what_stood_still_while_the_budget_had_no_room_for_it_goes_on_when_there_is_again() -> None:
    paper = Paper(cpu=2)
    whole = paper.world.budget
    paper.submit("a", cpu=2)
    paper.settle()
    paper.claim("a")
    paper.note("a", Note.ASK, ask="pause", by="user")
    paper.note("a", Note.PAUSE)
    paper.world.budget_changed(replace(whole, cpu_millis=1000), Resources(), (0,))
    paper.note("a", Note.RESUME)
    assert paper.settle() == []
    paper.world.budget_changed(whole, Resources(), (0, 1))
    assert [type(decision) for decision in paper.settle()] == [Resume]
