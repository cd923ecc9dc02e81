"""While a home is drained nothing is granted, and whoever holds something is asked to hand it back, once."""

from __future__ import annotations

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.policy import fifo
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.plan import Decision, Preempt, Rescue, TakeBack
from singlepoint.scheduler.simulation.paper import Paper
from tests.conftest import accept


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


def test_accepting_goes_on(store: JobStore) -> None:
    store.home.draining.touch()
    assert accept(store).state is State.PENDING
