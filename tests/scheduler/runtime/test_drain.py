"""While a home is drained nothing is granted, and whoever holds something is asked to hand it back, once."""

from __future__ import annotations

import math

import pytest
import redis

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.account import Account
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.jobs.services.draining import Drain, drain
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.policy import feedback, fifo
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.plan import Decision, Preempt, Rescue, TakeBack
from singlepoint.scheduler.policy.rules import Rules
from singlepoint.scheduler.simulation.paper import Paper
from tests.conftest import accept
from tests.scheduler.pretend import Bench


def a_full_machine() -> Paper:
    """One running, one dispatched, one waiting."""
    paper = Paper(cpu=2)
    for job_id in ("running", "dispatched", "waiting"):
        paper.submit(job_id)
    paper.settle()
    paper.claim("running")
    paper.look_at_locks()
    return paper


def decided(paper: Paper) -> tuple[Decision, ...]:
    return decide(paper.world, fifo.RULES).decisions


def test_running_work_is_asked_to_hand_back_and_dispatched_work_is_taken_back() -> None:
    paper = a_full_machine()
    paper.world.draining = True
    assert {type(one): one.job_id for one in decided(paper)} == {Preempt: "running", TakeBack: "dispatched"}
    paper.settle()
    assert Ask.PREEMPT in paper.jobs["running"].asks
    assert decided(paper) == ()


def test_nothing_is_started_until_it_is_over_and_then_all_go_on() -> None:
    paper = a_full_machine()
    paper.world.draining = True
    paper.settle()
    paper.end("running", Event.HAND_BACK)
    paper.look_at_locks()
    paper.settle()
    assert paper.in_state(State.PENDING) == ["running", "dispatched", "waiting"]
    assert "drain --off" in (paper.reason("waiting") or "")
    paper.world.draining = False
    paper.settle()
    assert paper.in_state(State.QUEUED) == ["running", "dispatched"]


def test_a_paused_attempt_is_not_given_its_cores_but_asked_to_hand_back_its_memory() -> None:
    paper = a_full_machine()
    paper.note("running", Note.ASK, ask=Ask.PAUSE)
    paper.note("running", Note.PAUSE)
    paper.note("running", Note.RESUME)
    paper.world.draining = True
    assert [one.job_id for one in decided(paper) if isinstance(one, Preempt)] == ["running"]


def test_a_death_is_written_down_all_the_same() -> None:
    paper = a_full_machine()
    paper.world.draining = True
    paper.die("running")
    paper.look_at_locks()
    assert [type(one) for one in decided(paper) if one.job_id == "running"] == [Rescue]


def a_machine_that_will_be_drained(rules: Rules = fifo.RULES) -> Paper:
    paper = Paper(cpu=1, rules=rules)
    paper.world.books.drains_at = paper.now + 3600
    return paper


def test_before_a_planned_drain_what_might_not_end_by_then_waits_and_says_so_and_others_go_before_it() -> None:
    paper = a_machine_that_will_be_drained(feedback.RULES)
    paper.submit("endless", preemptible=False)
    paper.submit("soft")
    paper.settle()
    assert paper.dispatched() == ["soft"]
    assert "before the home is drained at" in (paper.reason("endless") or "")
    paper.world.books.drains_at = math.inf
    paper.claim("soft")
    paper.end("soft")
    paper.settle()
    assert paper.dispatched() == ["soft", "endless"]


@pytest.mark.parametrize(("took_s", "starts"), [(600.0, True), (3500.0, False)])
def test_before_a_planned_drain_what_should_have_ended_by_then_is_started(took_s: float, starts: bool) -> None:
    paper = a_machine_that_will_be_drained()
    usage = Account(ends={"succeeded": 1}, wall_s=took_s)
    known = Entry("old", 1, State.SUCCEEDED, "old", "train", 0.0, 1.0, like="alike", account=usage)
    paper.world.experience.learn([known] * 20)
    paper.submit("like", like="alike", preemptible=False)
    paper.settle()
    assert (paper.dispatched() == ["like"]) is starts


def test_a_planned_drain_begins_and_ends_by_itself_in_the_loop(store: JobStore, connection: redis.Redis) -> None:
    bench = Bench(store, connection, cpu=1)
    drain(store.home, Drain(bench.now + 100, bench.now + 200), bench.now)
    bench.look()
    early, stubborn = bench.submit(), bench.submit(preemptible=False)
    bench.look()
    assert bench.states() == {early: "queued", stubborn: "pending"}
    bench.claim()
    bench.look(100)
    assert Ask.PREEMPT in bench.load(early).asks
    bench.end(early, Event.HAND_BACK, end="preempted")
    bench.look()
    assert set(bench.states().values()) == {"pending"}
    bench.look(100)
    assert bench.states() == {early: "queued", stubborn: "pending"}


def test_accepting_goes_on(store: JobStore) -> None:
    store.home.draining.touch()
    assert accept(store).state is State.PENDING
