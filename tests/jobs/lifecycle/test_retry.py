"""What follows a bad end, by whose fault it was."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.history import Note, step
from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import Event, State

MIB = 2**20


class Life:
    """A job that goes from one bad end to the next."""

    def __init__(self, *, retries: int = 0, memory_mib: int = 512) -> None:
        self.at = 1000.0
        self.job: Job | None = None
        requests = Resources(1000, memory_mib * MIB).to_json()
        self.happens(Event.ACCEPT, name="x", kind="train", requests=requests, retries=retries)

    def happens(self, event: Event | Note, **facts: Any) -> Job:
        self.job = step("x", self.job, {"at": iso(self.at), "event": event.value, **facts})
        return self.job

    def run(self, *, granted_mib: int | None = None) -> Job:
        """A new attempt is dispatched and begins."""
        assert self.job is not None
        memory = self.job.requests.memory_bytes if granted_mib is None else granted_mib * MIB
        terms = Terms(Resources(1000, memory), (0,))
        self.happens(Event.DISPATCH, attempt=self.job.attempt + 1, terms=terms.to_json())
        return self.happens(Event.CLAIM, attempt=self.job.attempt)

    def fails(self, *, cause: str = "ValueError: no", step_no: int = 7, end: str = "failed", **more: Any) -> Job:
        job = self.run()
        event, facts = retry.after_failure(job, end=end, cause=cause, step=step_no, at=self.at, **more)
        return self.happens(event, attempt=job.attempt, first_step=0, steps=step_no, **facts)

    def is_killed(self, *, steps: int | None = 5) -> Job:
        job = self.run()
        event, facts = retry.after_death(job, end="killed", cause="SIGKILL", steps=steps, at=self.at)
        return self.happens(event, attempt=job.attempt, steps=steps, **facts)


def test_without_retries_a_failure_is_final_and_says_why() -> None:
    job = Life().fails()
    assert (job.state, job.reason) == (State.FAILED, "ValueError: no")


def test_failures_spend_retries_and_wait_longer_each_time() -> None:
    life = Life(retries=3)
    waits = [life.fails(step_no=number).not_before - life.at for number in range(3)]
    assert waits == [1, 2, 4]
    job = life.fails(step_no=9)
    assert job.state is State.FAILED
    assert job.reason == "ValueError: no (tried 4 times)"


def test_the_same_failure_at_the_same_step_twice_quarantines_the_job() -> None:
    life = Life(retries=9)
    life.fails()
    life.is_killed()
    job = life.fails()
    assert job.state is State.FAILED
    assert job.reason == "quarantined: attempts 1 and 3 failed alike at step 7: ValueError: no"
    assert retry.is_quarantined(job)


@pytest.mark.parametrize("second", [{"step_no": 8}, {"cause": "ValueError: yes"}, {"end": "crashed"}])
def test_another_failure_or_another_step_is_no_quarantine(second: dict[str, Any]) -> None:
    life = Life(retries=9)
    life.fails()
    assert life.fails(**second).state is State.PENDING


def test_after_retry_was_asked_for_old_failures_do_not_count() -> None:
    life = Life(retries=1)
    life.fails()
    life.fails(step_no=8)
    life.happens(Event.RETRY, fresh=False)
    assert life.fails().state is State.PENDING


def test_a_kill_from_outside_spends_no_retry_and_does_not_wait() -> None:
    life = Life()
    for _ in range(10):
        job = life.is_killed()
        assert (job.state, job.failures, job.not_before) == (State.PENDING, 0, 0.0)


def test_three_deaths_in_a_row_without_a_step_make_the_next_attempt_wait() -> None:
    life = Life()
    waits = []
    for _ in range(9):
        job = life.is_killed(steps=0)
        waits.append(max(0.0, job.not_before - life.at))
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60]
    assert life.is_killed(steps=1).not_before == 0.0
    assert life.is_killed(steps=0).not_before == 0.0


def test_out_of_memory_asks_for_half_as_much_again_and_spends_no_retry() -> None:
    job = Life(memory_mib=100).fails(end="out_of_memory", peak_bytes=120 * MIB)
    assert (job.state, job.failures) == (State.PENDING, 0)
    assert job.requests == Resources(1000, 180 * MIB)


def test_out_of_memory_at_the_full_budget_is_the_jobs_own_fault() -> None:
    life = Life(memory_mib=100)
    life.fails(end="out_of_memory")
    job = life.run(granted_mib=120)  # less than the 150 MiB it asks for by now: there is no more
    event, facts = retry.after_failure(job, end="out_of_memory", cause="no room", step=7, at=life.at)
    assert event is Event.FAIL
    assert facts["reason"] == "no room"


@pytest.mark.parametrize("ask", ["cancel"])
def test_a_cancel_that_was_asked_is_answered_however_the_attempt_ended(ask: str) -> None:
    life = Life(retries=5)
    life.run()
    job = life.happens(Note.ASK, ask=ask)
    assert retry.after_failure(job, end="failed", cause="x", step=1, at=life.at)[0] is Event.CANCEL
    assert retry.after_death(job, end="killed", cause="x", steps=1, at=life.at)[0] is Event.CANCEL


def test_a_disk_that_is_full_or_fails_makes_the_job_wait_and_spends_nothing() -> None:
    life = Life()
    waits = []
    for end in ("disk_full", "io_error", "disk_full"):
        job = life.run()
        _, facts = retry.for_now(job, end, "no space", life.at)
        job = life.happens(Event.LOSE, attempt=job.attempt, **facts)
        waits.append(job.not_before - life.at)
    assert waits == [1, 2, 4]
    assert job.failures == 0
    assert job.attempts[-1].end == "disk_full"


@pytest.mark.parametrize("name", ["TRAP", "SYS", "XCPU", "XFSZ", "PIPE", "ALRM", "VTALRM", "PROF"])
def test_a_signal_that_only_the_process_brings_on_itself_is_a_crash_of_its_own(name: str) -> None:
    assert retry.diagnosis(retry.Death(signal.Signals[f"SIG{name}"])) == ("crashed", f"crashed with SIG{name}")


@pytest.mark.parametrize("name", ["KILL", "TERM", "HUP", "INT", "QUIT", "USR1"])
def test_a_signal_that_others_send_came_from_outside(name: str) -> None:
    assert retry.diagnosis(retry.Death(signal.Signals[f"SIG{name}"])) == ("killed", f"SIG{name}")


def test_attempts_that_are_drained_as_soon_as_they_begin_wait_from_the_third_on_and_real_drains_never() -> None:
    def waits(lasting_s: float, steps: int) -> list[float]:
        life, found = Life(), []
        for _ in range(5):
            job = life.run()
            life.at += lasting_s
            event, facts = retry.after_drain(job, steps=steps, at=life.at)
            found.append(facts.get("not_before", life.at) - life.at)
            job = life.happens(event, attempt=job.attempt, first_step=0, steps=steps, **facts)
            assert (job.state, job.failures) == (State.PENDING, 0)
            life.at = max(life.at, job.not_before)
        return found

    assert waits(lasting_s=1.0, steps=0) == [0, 0, 1, 2, 4]
    assert waits(lasting_s=1.0, steps=3) == [0] * 5
    assert waits(lasting_s=60.0, steps=0) == [0] * 5
