"""24 hours of faults in simulated time, through the policy that also runs live.

Children, workers and the whole machine die, jobs are preempted, paused, cancelled, retried, Redis loses what it
had, the budget changes. In the end no job is lost, none ever ran twice at once, nothing was over the budget.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Ask, Event, State
from singlepoint.scheduler.policy import fifo
from singlepoint.scheduler.policy.decide import decide
from singlepoint.scheduler.policy.plan import Decision, Dispatch, PushAgain, Resume
from singlepoint.scheduler.simulation.paper import Paper, budget
from singlepoint.scheduler.world.world import World

DAY_S = 86_400.0
CPU, MEMORY_MIB = 4, 8192


class Day(Paper):
    """A machine on paper with processes that are born and die. running: job -> the attempt whose process lives."""

    def __init__(self, seed: int) -> None:
        super().__init__(CPU, MEMORY_MIB)
        self.chance = random.Random(seed)
        self.running: dict[str, int] = {}
        self.run_queue: list[tuple[str, int]] = []
        self.faults = 0

    # --- ordinary life -----------------------------------------------------------------------------------

    def ask_for_work(self) -> None:
        name = f"j{len(self.jobs)}"
        after = [self.chance.choice(list(self.jobs))] if self.jobs and self.chance.random() < 0.1 else []
        cpu, memory_mib = self.chance.randint(1, CPU), self.chance.randint(64, 4096)
        self.submit(name, cpu=cpu, memory_mib=memory_mib, priority=self.chance.randrange(3), after=after, retries=2)

    def take_from_queue(self) -> None:
        """A worker takes an attempt; only one whose lock is free and which is still wanted begins."""
        if not self.run_queue:
            return
        job_id, attempt = self.run_queue.pop(0)
        job = self.jobs[job_id]
        if job_id in self.alive or job.state is not State.QUEUED or job.attempt != attempt:
            return  # pushed twice, or taken back
        self.running[job_id] = attempt
        self.claim(job_id)

    def finish_one(self) -> None:
        job_id = self._somebody()
        if job_id is not None:
            job = self.jobs[job_id]
            if Ask.CANCEL in job.asks:
                self._ends(job_id, Event.CANCEL, "cancelled")
            elif Ask.PREEMPT in job.asks:
                self._ends(job_id, Event.HAND_BACK, "preempted")
            elif Ask.PAUSE in job.asks and not job.paused:
                self.note(job_id, Note.PAUSE)
            elif job.paused and job.terms is not None and job.terms.cores and Ask.PAUSE not in job.asks:
                self.note(job_id, Note.GO_ON)
            elif not job.paused:
                self._ends(job_id, Event.SUCCEED, "succeeded")

    def pause_or_resume(self) -> None:
        job_id = self._somebody()
        if job_id is not None:
            if Ask.PAUSE in self.jobs[job_id].asks:
                self.note(job_id, Note.RESUME)
            else:
                self.note(job_id, Note.ASK, ask=Ask.PAUSE)
        for job in list(self.unfinished.values()):
            if job.held:
                self.note(job.id, Note.RESUME)

    def cancel_one(self) -> None:
        job_id = self._somebody()
        if job_id is not None and self.chance.random() < 0.2:
            self.note(job_id, Note.ASK, ask=Ask.CANCEL)

    def retry_one(self) -> None:
        ended = self.in_state(State.FAILED) + self.in_state(State.CANCELLED)
        if ended:
            self.move(self.chance.choice(ended), Event.RETRY, fresh=False)

    # --- faults ------------------------------------------------------------------------------------------

    def kill_a_child(self) -> None:
        """Its worker writes the death down, sometimes while a grandchild still holds the lock."""
        job_id = self._somebody()
        if job_id is not None:
            self.faults += 1
            lingers = self.chance.random() < 0.3
            self.move(job_id, Event.LOSE, attempt=self.running.pop(job_id), end="killed", steps=1)
            if not lingers:
                self.alive.discard(job_id)

    def kill_a_worker(self) -> None:
        """Nobody writes anything down."""
        job_id = self._somebody()
        if job_id is not None:
            self.faults += 1
            self.running.pop(job_id)
            self.alive.discard(job_id)

    def lose_an_attempt_between_pop_and_claim(self) -> None:
        if self.run_queue:
            self.faults += 1
            self.run_queue.pop(0)

    def leave(self) -> None:
        """Grandchildren that lingered are gone."""
        self.alive = set(self.running)

    def restart_the_scheduler(self) -> None:
        self.faults += 1
        self._new_world()

    def restart_the_machine(self) -> None:
        self.faults += 1
        self.running.clear()
        self.alive.clear()
        self.run_queue.clear()
        self.boot_id += "'"
        self._new_world()

    def change_the_budget(self) -> None:
        self.faults += 1
        cpu = self.chance.randint(1, CPU)
        self.world.budget_changed(budget(cpu, self.chance.randint(4096, MEMORY_MIB)), Resources(), range(cpu))

    def restore_the_budget(self) -> None:
        self.world.budget_changed(budget(CPU, MEMORY_MIB), Resources(), range(CPU))

    # --- the hour hand -----------------------------------------------------------------------------------

    def step(self, happening: Callable[[Day], None]) -> None:
        room_was_enough = self.granted().fits_in(self.world.room)
        happening(self)
        self.look_at_locks()
        self._find_missing()
        self.settle()
        if room_was_enough and happening is not Day.change_the_budget:
            assert self.granted().fits_in(self.world.room), happening
        assert len(self.cores()) == len(set(self.cores()))
        assert all(self.jobs[job_id].attempt == attempt for job_id, attempt in self.running.items())

    def _carry_out(self, decision: Decision) -> None:
        super()._carry_out(decision)
        if isinstance(decision, Dispatch):
            assert decision.job_id not in self.alive, f"{decision.job_id} would run twice at once"
        if isinstance(decision, Dispatch | PushAgain):
            self.run_queue.append((decision.job_id, decision.attempt))

    def _find_missing(self) -> None:
        names = set(self.run_queue)
        for job_id in self.in_state(State.QUEUED):
            if (job_id, self.jobs[job_id].attempt) not in names and job_id not in self.alive:
                self.world.missing(job_id)

    def _somebody(self) -> str | None:
        living = sorted(j for j in self.running if self.jobs[j].state is State.RUNNING)
        return self.chance.choice(living) if living else None

    def _ends(self, job_id: str, event: Event, end: str) -> None:
        self.running.pop(job_id)
        self.alive.discard(job_id)
        self.move(job_id, event, attempt=self.jobs[job_id].attempt, end=end)

    def _new_world(self) -> None:
        self.world = World(budget(CPU, MEMORY_MIB), range(CPU), boot_id=self.boot_id).seen_at(self.now)
        for job in self.jobs.values():
            self.world.see(job)
        if any(True for _ in self.world.unprobed()):
            decisions = decide(self.world, fifo.RULES).decisions
            assert not [decision for decision in decisions if isinstance(decision, Dispatch | Resume)]


ORDINARY: list[tuple[Callable[[Day], None], int]] = [
    (Day.ask_for_work, 20),
    (Day.take_from_queue, 40),
    (Day.finish_one, 40),
    (Day.pause_or_resume, 5),
    (Day.cancel_one, 3),
    (Day.retry_one, 2),
    (Day.leave, 20),
]
FAULTS: list[tuple[Callable[[Day], None], int]] = [
    (Day.kill_a_child, 15),
    (Day.kill_a_worker, 15),
    (Day.lose_an_attempt_between_pop_and_claim, 5),
    (Day.restart_the_scheduler, 2),
    (Day.restart_the_machine, 1),
    (Day.change_the_budget, 1),
    (Day.restore_the_budget, 4),
]


@pytest.mark.parametrize("seed", range(2))
def test_after_a_day_of_faults_no_job_is_lost_and_none_ran_twice_at_once(seed: int) -> None:
    day = Day(seed)
    kinds, weights = zip(*ORDINARY, *FAULTS, strict=True)
    end = day.now + DAY_S
    while day.now < end:
        day.pass_time(day.chance.expovariate(1 / 20))
        day.step(day.chance.choices(kinds, weights)[0])
    calm_down(day)
    assert day.faults > 300
    assert len(day.jobs) > 100
    assert not day.unfinished
    assert day.granted() == day.world.reserved == Resources()
    for job in day.jobs.values():
        numbers = [attempt.number for attempt in job.attempts]
        assert numbers == list(range(1, len(numbers) + 1))
        for one, following in zip(job.attempts, job.attempts[1:], strict=False):
            assert one.ended_at is not None
            assert one.ended_at <= following.dispatched_at


def calm_down(day: Day) -> None:
    """No more faults and no more work: everything must end by itself."""
    day.step(Day.restore_the_budget)
    for _ in range(20 * len(day.jobs)):
        day.pass_time(60)
        for kind in (Day.leave, Day.take_from_queue, Day.finish_one):
            day.step(kind)
        for job in list(day.unfinished.values()):
            if job.held or Ask.PAUSE in job.asks:
                day.note(job.id, Note.RESUME)
        if not day.unfinished:
            return
