"""The policy's promises, one a test, on a machine on paper."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.dependencies import After
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources, Usage
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.scheduler.policy import fifo
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.plan import Dispatch, Fail, Preempt, PushAgain, Rescue, Resume, TakeBack
from singlepoint.scheduler.simulation.paper import MIB, Paper, budget
from singlepoint.scheduler.world.places import Place


def test_a_job_that_fits_is_dispatched_with_its_own_cores_and_memory() -> None:
    paper = Paper(cpu=2)
    paper.submit("a", cpu=2, memory_mib=100)
    (decision,) = paper.settle()
    assert isinstance(decision, Dispatch)
    assert (decision.job_id, decision.attempt, decision.terms.cores) == ("a", 1, (0, 1))
    assert decision.terms.resources == Resources(2000, 100 * MIB)


def test_part_of_a_core_is_granted_as_a_whole_one() -> None:
    paper = Paper(cpu=1)
    paper.submit("a", cpu=0.5)
    paper.submit("b", cpu=0.5)
    paper.settle()
    assert paper.dispatched() == ["a"]
    assert paper.granted().cpu_millis == 1000


def test_higher_priority_goes_first_then_first_come() -> None:
    paper = Paper(cpu=1)
    for job_id, priority in (("early", 0), ("urgent", 5), ("late", 0)):
        paper.submit(job_id, priority=priority)
        paper.now += 1
    for _ in range(3):
        paper.settle()
        (job_id,) = paper.in_state(State.QUEUED)
        paper.claim(job_id)
        paper.end(job_id)
    assert paper.dispatched() == ["urgent", "early", "late"]


def test_nobody_overtakes_a_head_that_does_not_fit() -> None:
    paper = Paper(cpu=2)
    paper.submit("long")
    paper.settle()
    paper.now += 1
    paper.submit("wide", cpu=2)
    paper.now += 1
    paper.submit("small")
    assert paper.settle() == []
    paper.claim("long")
    paper.end("long")
    paper.settle()
    assert paper.dispatched() == ["long", "wide"]


def test_a_job_larger_than_the_budget_waits_aside_and_keeps_nobody_waiting() -> None:
    paper = Paper(cpu=2, memory_mib=1024)
    paper.submit("giant", memory_mib=2048, priority=9)
    paper.submit("small")
    paper.settle()
    assert paper.dispatched() == ["small"]
    assert "can never fit" in (paper.reason("giant") or "")


def test_a_larger_budget_lets_it_in() -> None:
    paper = Paper(memory_mib=1024)
    paper.submit("giant", memory_mib=2048)
    paper.settle()
    paper.world.budget_changed(budget(2, 4096), Resources())
    paper.settle()
    assert paper.dispatched() == ["giant"]


def test_our_own_processes_are_part_of_the_budget() -> None:
    paper = Paper(memory_mib=1024)
    paper.world.budget_changed(paper.world.budget, Resources(memory_bytes=512 * MIB))
    paper.submit("a", memory_mib=512)
    paper.submit("b", memory_mib=1)
    paper.settle()
    assert paper.dispatched() == ["a"]


def test_a_held_job_waits_and_is_overtaken() -> None:
    paper = Paper(cpu=1)
    paper.submit("held")
    paper.note("held", Note.HOLD)
    paper.submit("next")
    paper.settle()
    assert paper.dispatched() == ["next"]
    paper.claim("next")
    paper.end("next")
    paper.note("held", Note.RESUME)
    paper.settle()
    assert paper.dispatched() == ["next", "held"]


def test_a_job_starts_when_its_begin_has_come_and_no_earlier_and_its_waiting_counts_from_there() -> None:
    paper = Paper(cpu=1)
    begin_at = paper.now + 7200
    paper.submit("late", begin_at=iso(begin_at))
    assert paper.settle() == []
    assert paper.reason("late") == f"begins at {iso(begin_at)}, as was asked"
    assert paper.world.next_alarm() == pytest.approx(begin_at)
    paper.pass_time(7200)
    paper.world.see(paper.jobs["late"])
    task = paper.world.books.task("late")
    assert task is not None and task.since == pytest.approx(begin_at, abs=0.01)
    paper.settle()
    assert paper.dispatched() == ["late"]


def test_a_job_starts_only_after_those_it_comes_after() -> None:
    paper = Paper()
    paper.submit("first")
    paper.submit("second", after=["first"])
    paper.settle()
    assert paper.dispatched() == ["first"]
    assert paper.reason("second") == "after first (queued)"
    paper.claim("first")
    paper.end("first")
    paper.settle()
    assert paper.dispatched() == ["first", "second"]


@pytest.mark.parametrize(("event", "fate"), [(Event.FAIL, "failed"), (Event.CANCEL, "was cancelled")])
def test_a_chain_of_jobs_fails_with_the_first_that_does(event: Event, fate: str) -> None:
    paper = Paper()
    paper.submit("a")
    paper.submit("b", after=["a"])
    paper.submit("c", after=["b"])
    paper.move("a", event)
    assert paper.settle() == [Fail("b", f"comes after a, which {fate}"), Fail("c", "comes after b, which failed")]


@pytest.mark.parametrize(("when", "event"), [(":failed", Event.FAIL), (":any", Event.FAIL), (":any", Event.SUCCEED)])
def test_a_job_starts_once_what_it_comes_after_has_ended_as_it_was_to(when: str, event: Event) -> None:
    paper = Paper(cpu=1)
    paper.submit("a")
    paper.submit("b", after=[f"a{when}"])
    paper.settle()
    assert paper.reason("b") == f"after a{when} (queued)"
    paper.claim("a")
    paper.end("a", event)
    paper.settle()
    assert paper.dispatched() == ["a", "b"]


def test_a_job_that_was_to_follow_a_failure_fails_with_a_cause_when_there_is_none() -> None:
    paper = Paper(cpu=1)
    paper.submit("a")
    paper.submit("b", after=["a:failed"])
    paper.settle()
    paper.claim("a")
    paper.end("a")
    assert paper.settle() == [Fail("b", "comes after a, which succeeded, and was to fail")]


def test_a_job_waits_again_when_what_it_comes_after_goes_round_again_before_it_began() -> None:
    paper = Paper(cpu=1)
    paper.submit("a")
    paper.submit("b", after=["a:any"])
    paper.note("b", Note.HOLD)
    paper.settle()
    paper.claim("a")
    paper.end("a", Event.FAIL)
    paper.settle()
    paper.move("a", Event.RETRY)
    paper.note("b", Note.RESUME)
    paper.settle()
    assert paper.reason("b") == "after a:any (queued)"


def test_a_job_fails_when_what_it_waits_for_is_removed_before_it_succeeded() -> None:
    paper = Paper()
    paper.submit("b", after=["a"])
    assert paper.settle() == []
    paper.world.forget("a")
    assert paper.settle() == [Fail("b", "comes after a, which was removed")]


def test_removing_what_had_succeeded_harms_nobody() -> None:
    paper = Paper(cpu=1)
    paper.submit("a")
    paper.settle()
    paper.submit("b", after=["a"])
    paper.claim("a")
    paper.end("a")
    paper.world.forget("a")
    paper.jobs.pop("a")
    paper.settle()
    assert paper.dispatched() == ["a", "b"]


def test_a_dead_attempt_is_rescued_once_and_the_job_runs_again() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    assert paper.settle() == []
    paper.die("a")
    rescue, dispatch = paper.settle()
    assert rescue == Rescue("a", 1, "killed", "its process was killed, and the worker above it")
    assert isinstance(dispatch, Dispatch)
    assert dispatch.attempt == 2
    assert paper.settle() == []


def test_a_restart_of_the_machine_is_told_from_a_kill() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.boot_id = "an earlier boot"
    paper.claim("a")
    paper.die("a")
    assert paper.settle()[0] == Rescue("a", 1, "host_restart", "the machine restarted")


def test_an_attempt_whose_lock_is_held_is_left_alone_however_long() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.pass_time(1e6)
    assert paper.settle() == []


def test_nothing_is_granted_while_a_lock_has_not_been_tried() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.submit("b")
    assert decide(paper.world, fifo.RULES).decisions == ()
    paper.look_at_locks()
    assert [decision.job_id for decision in decide(paper.world, fifo.RULES).decisions] == ["b"]


def test_a_lost_job_keeps_its_room_until_its_last_process_is_gone() -> None:
    paper = Paper(cpu=1)
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.submit("b", priority=9)
    paper.move("a", Event.LOSE, attempt=1, end="killed")
    assert paper.settle() == []
    assert paper.world.place("a") is Place.ENDING
    paper.die("a")
    paper.settle()
    assert paper.dispatched() == ["a", "b"]


def test_a_cancel_that_was_asked_of_a_dead_attempt_is_answered() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.note("a", Note.ASK, ask=Ask.CANCEL)
    paper.die("a")
    assert len(paper.settle()) == 1
    assert paper.jobs["a"].state is State.CANCELLED


def test_a_dispatched_attempt_that_no_queue_has_is_pushed_again_once() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.world.missing("a")
    assert paper.settle() == [PushAgain("a", 1)]
    assert paper.settle() == []


def test_a_paused_attempt_gives_its_cores_and_keeps_its_memory() -> None:
    paper = Paper(cpu=1, memory_mib=1024)
    paper.submit("a", memory_mib=600)
    paper.settle()
    paper.claim("a")
    paper.note("a", Note.ASK, ask=Ask.PAUSE)
    paper.note("a", Note.PAUSE)
    paper.submit("large", memory_mib=600)
    assert paper.settle() == []
    paper.submit("small", memory_mib=400, priority=1)
    paper.settle()
    assert paper.dispatched() == ["a", "small"]


def test_a_paused_attempt_goes_on_before_anybody_of_its_priority_starts() -> None:
    paper = Paper(cpu=1, memory_mib=4096)
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.note("a", Note.ASK, ask=Ask.PAUSE)
    paper.note("a", Note.PAUSE)
    paper.submit("b")
    paper.settle()
    paper.submit("c")
    paper.note("a", Note.RESUME)
    assert paper.settle() == []
    paper.claim("b")
    paper.end("b")
    (resume,) = paper.settle()
    assert isinstance(resume, Resume)
    assert (resume.job_id, resume.terms.cores, resume.terms.revision) == ("a", (0,), 1)
    assert paper.jobs["a"].attempts[-1].terms.resources == Resources(1000, 512 * MIB)


def test_a_lowered_budget_puts_the_newest_of_the_lowest_priority_down_first() -> None:
    paper = Paper(cpu=3)
    for job_id, priority in (("old", 0), ("dear", 5), ("new", 0)):
        paper.submit(job_id, priority=priority)
        paper.now += 1
    paper.settle()
    for job_id in ("old", "dear", "new"):
        paper.claim(job_id)
    paper.submit("waiting")
    paper.world.budget_changed(budget(1), Resources(), [0])
    assert paper.settle() == [Preempt("new", 1), Preempt("old", 1)]
    assert paper.settle() == []
    paper.end("new", Event.HAND_BACK)
    paper.end("old", Event.HAND_BACK)
    assert paper.settle() == []
    assert paper.granted().cpu_millis == 1000


def test_a_lowered_budget_takes_back_what_nobody_began() -> None:
    paper = Paper(cpu=2)
    paper.submit("a")
    paper.submit("b")
    paper.settle()
    paper.claim("a")
    paper.world.budget_changed(budget(1), Resources(), [0])
    assert paper.settle() == [TakeBack("b", 1, "the budget was lowered")]


def test_work_is_put_down_for_a_lowered_budget_but_not_because_our_own_reserve_grew() -> None:
    paper = Paper(cpu=2, memory_mib=1024)
    paper.submit("a", memory_mib=1000)
    paper.settle()
    paper.claim("a")
    paper.world.budget_changed(paper.world.budget, Resources(memory_bytes=64 * MIB))
    paper.submit("b", memory_mib=0)
    assert paper.settle() == []
    paper.world.budget_changed(budget(2, 1023), paper.world.reserve)
    assert paper.settle() == [Preempt("a", 1)]


def test_only_work_that_holds_what_is_lacking_is_put_down() -> None:
    paper = Paper(cpu=2, memory_mib=2048)
    paper.submit("fat", memory_mib=1500)
    paper.now += 1
    paper.submit("thin", memory_mib=0)
    paper.settle()
    paper.claim("fat")
    paper.claim("thin")
    paper.world.budget_changed(budget(2, 1024), Resources())
    assert paper.settle() == [Preempt("fat", 1)]


def test_a_request_that_grew_for_want_of_memory_is_cut_to_the_budget() -> None:
    paper = Paper(cpu=1, memory_mib=1000)
    paper.submit("a", memory_mib=800)
    paper.settle()
    paper.claim("a")
    more = Resources(1000, 1200 * MIB).to_json()
    paper.end("a", Event.LOSE, end="out_of_memory", requests=more)
    (decision,) = paper.settle()
    assert isinstance(decision, Dispatch)
    assert decision.terms.resources.memory_bytes == 1000 * MIB


def test_a_backoff_of_a_second_stays_short_when_the_clock_is_set_back_an_hour() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.end("a", Event.LOSE, counts=True, not_before=paper.now + 1)
    assert paper.settle() == []
    paper.pass_time(-3600)
    (decision,) = paper.settle()
    assert isinstance(decision, Dispatch)


def test_a_clock_set_back_a_little_costs_a_backoff_no_more_than_the_longest_there_is() -> None:
    paper = Paper()
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    paper.end("a", Event.LOSE, counts=True, not_before=paper.now + 1)
    paper.pass_time(-30)
    assert paper.settle() == []
    paper.pass_time(31)
    assert isinstance(paper.settle()[0], Dispatch)


def test_a_job_that_backs_off_lets_others_pass_and_comes_back_in_time() -> None:
    paper = Paper(cpu=1)
    paper.submit("a")
    paper.settle()
    paper.claim("a")
    later = paper.now + 4
    paper.end("a", Event.LOSE, end="failed", counts=True, not_before=later)
    paper.submit("b")
    paper.settle()
    paper.claim("b")
    paper.end("b")
    assert paper.settle() == []
    assert paper.world.next_alarm() == later
    paper.pass_time(4)
    paper.settle()
    assert paper.dispatched() == ["a", "b", "a"]


def test_the_interval_granted_follows_the_measured_cost_of_a_save() -> None:
    paper = Paper()
    paper.submit("a")
    first = paper.settle()[0]
    paper.claim("a")
    usage = Usage(wall_s=100, saves=3, save_s=2.0, overhead_s=6.0)
    paper.end("a", Event.HAND_BACK, usage=usage.to_json())
    second = paper.settle()[0]
    assert isinstance(first, Dispatch)
    assert isinstance(second, Dispatch)
    assert first.terms.checkpoint_interval_s == 10.0
    assert second.terms.checkpoint_interval_s == 200.0


def test_deciding_changes_nothing_and_says_the_same_again() -> None:
    paper = Paper()
    for number in range(5):
        paper.submit(f"j{number}")
    assert decide(paper.world, fifo.RULES).decisions == decide(paper.world, fifo.RULES).decisions != ()


class Counting(dict[str, Any]):
    """A dict that counts how often somebody reads a job."""

    reads = 0

    def __getitem__(self, name: str) -> Any:
        self.reads += 1
        return super().__getitem__(name)


def test_with_100_000_waiting_jobs_a_decision_reads_only_heads() -> None:
    paper = Paper(cpu=4, memory_mib=100_000)
    one = paper.submit("one")
    for number in range(100_000):
        after = (After("nobody"),) if number % 10 == 9 else ()
        paper.world.see(replace(one, id=f"j{number:06}", priority=1 + number % 3, after=after))
    counting = Counting(paper.world._jobs)
    paper.world._jobs = counting
    assert len(decide(paper.world, fifo.RULES).decisions) == 4
    assert counting.reads <= 10


jobs = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 1500), st.integers(0, 3)),  # cpu, memory, priority
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(jobs=jobs, seed=st.integers(0, 2**32))
def test_the_budget_is_never_exceeded_and_every_job_that_fits_ends(jobs: list[tuple[int, int, int]], seed: int) -> None:
    chance = random.Random(seed)
    paper = Paper(cpu=3, memory_mib=1024)
    for number, (cpu, memory_mib, priority) in enumerate(jobs):
        paper.submit(f"j{number}", cpu=cpu, memory_mib=memory_mib, priority=priority)
        if chance.random() < 0.5:
            live(paper, chance)
    for _ in range(250):
        live(paper, chance)
    fitting = {f"j{n}" for n, (cpu, memory_mib, _) in enumerate(jobs) if cpu <= 3 and memory_mib <= 1024}
    assert set(paper.in_state(State.SUCCEEDED)) == fitting


def live(paper: Paper, chance: random.Random) -> None:
    """One thing happens to somebody, then the scheduler looks."""
    paper.pass_time(chance.random() * 30)
    queued, running = paper.in_state(State.QUEUED), paper.in_state(State.RUNNING)
    happening = chance.random()
    if queued and happening < 0.4:
        paper.claim(chance.choice(queued))
    elif running and happening < 0.7:
        paper.end(chance.choice(running))
    elif running and happening < 0.8:
        paper.die(chance.choice(running))
    elif running and happening < 0.85:
        paper.end(chance.choice(running), Event.HAND_BACK)
    elif happening < 0.9 and queued:
        paper.world.missing(chance.choice(queued))
    paper.settle()
    assert paper.granted().fits_in(paper.world.room)
    assert paper.granted() == paper.world.reserved
    assert len(paper.cores()) == len(set(paper.cores()))
    assert set(paper.cores()) <= set(paper.world.cores)


def test_random_changes_of_the_budget_never_leave_more_granted_than_there_is_once_work_was_put_down() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        paper = Paper(cpu=4, memory_mib=4096)
        for number in range(12):
            paper.submit(
                f"j{number}", cpu=chance.randint(1, 4), memory_mib=chance.randint(1, 3000), priority=number % 3
            )
        paper.settle()
        for job_id in paper.in_state(State.QUEUED)[:2]:
            paper.claim(job_id)
        before = paper.dispatched()
        paper.world.budget_changed(budget(chance.randint(1, 4), chance.randint(256, 4096)), Resources())
        is_lower = not paper.granted().fits_in(paper.world.room)
        paper.settle()
        if is_lower:
            assert paper.dispatched() == before
        for job_id in paper.in_state(State.RUNNING):
            if Ask.PREEMPT in paper.jobs[job_id].asks:
                paper.end(job_id, Event.HAND_BACK)
        paper.settle()
        assert paper.granted().fits_in(paper.world.room)
