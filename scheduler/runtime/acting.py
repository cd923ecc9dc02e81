"""Carrying decisions out on disk; Redis is told after, see `telling`. Each step may be repeated.

Every decision is checked again under the history's lock, because the job may have moved since it was decided; then
nothing is written, and the job as it is now is the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from singlepoint.jobs.clock import Clock
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import Ask, Author, Event, State
from singlepoint.jobs.store import post_mortem
from singlepoint.jobs.store.job_store import JobStore, OpenHistory
from singlepoint.scheduler.policy.plan import (
    Decision,
    Dispatch,
    Fail,
    Pause,
    Preempt,
    PushAgain,
    Rescue,
    Resume,
    TakeBack,
)

log = logging.getLogger("singlepoint.scheduler")

WATCHED_S = 2.0
"""A lock seen held this recently means that the death was seen as it happened."""


class DiskActs:
    """Makes moves. alive_at: when a job's lock was last seen held."""

    def __init__(self, store: JobStore, clock: Clock, alive_at: Mapping[str, float]) -> None:
        self.store = store
        self.clock = clock
        self.alive_at = alive_at

    def carry_out(self, decision: Decision) -> tuple[Job, bool]:
        """The job afterwards, and whether anything was to be done. Raises NotFound, StorageFull."""
        with self.store.locked_history(decision.job_id) as history:
            done = _ON_DISK[type(decision)](self, history, decision)
            return history.job, done

    def dispatch(self, history: OpenHistory, decision: Dispatch) -> bool:
        job = history.job
        if job.state is not State.PENDING or job.held or job.attempt != decision.attempt - 1:
            return False
        if job.attempts and self.store.is_being_worked_on(job.id):
            return False
        facts = {"attempt": decision.attempt, "terms": decision.terms.to_json()}
        history.append(Event.DISPATCH, self.clock(), facts)
        cores = ",".join(map(str, decision.terms.cores))
        memory_bytes = decision.terms.resources.memory_bytes
        log.info(
            "job_dispatched job=%s attempt=%d cores=%s memory_bytes=%d", job.id, decision.attempt, cores, memory_bytes
        )
        return True

    def resume(self, history: OpenHistory, decision: Resume) -> bool:
        job = history.job
        by_user = job.is_asked(Ask.PAUSE, Author.USER)
        if not _is(job, State.RUNNING, decision.attempt) or not job.paused or by_user:
            return False
        if job.attempts[-1].terms.revision >= decision.terms.revision:
            return False
        history.append(Note.REVISE, self.clock(), {"attempt": job.attempt, "terms": decision.terms.to_json()})
        log.info(
            "job_resumed job=%s attempt=%d cores=%s", job.id, job.attempt, ",".join(map(str, decision.terms.cores))
        )
        return True

    def rescue(self, history: OpenHistory, decision: Rescue) -> bool:
        job = history.job
        if not _is(job, State.RUNNING, decision.attempt) or self.store.is_being_worked_on(job.id):
            return False
        now = self.clock()
        left = post_mortem.examine(self.store.home.job_files(job.id), job.attempts[-1])
        watched = now - self.alive_at.get(job.id, 0.0) <= WATCHED_S
        ended_at = now if watched and decision.end == "killed" else min(now, left.last_sign_at)
        event, facts = retry.after_death(job, end=decision.end, cause=decision.cause, steps=left.steps, at=now)
        history.append(event, now, {"attempt": job.attempt, **facts, **left.facts(ended_at)})
        log.warning(
            "attempt_lost job=%s attempt=%d end=%s steps=%s lost_s=%.3f",
            job.id,
            job.attempt,
            decision.end,
            left.steps,
            max(0.0, ended_at - left.saved_at),
        )
        return True

    def push_again(self, history: OpenHistory, decision: PushAgain) -> bool:
        log.warning("job_pushed_again job=%s attempt=%d", history.job.id, decision.attempt)
        return _is(history.job, State.QUEUED, decision.attempt)

    def preempt(self, history: OpenHistory, decision: Preempt) -> bool:
        return self._ask(history, decision, Ask.PREEMPT)

    def pause(self, history: OpenHistory, decision: Pause) -> bool:
        return self._ask(history, decision, Ask.PAUSE)

    def _ask(self, history: OpenHistory, decision: Preempt | Pause, ask: Ask) -> bool:
        job = history.job
        if not _is(job, State.RUNNING, decision.attempt) or ask in job.asks:
            return False
        history.append(Note.ASK, self.clock(), {"ask": ask, "by": Author.SCHEDULER})
        log.info("job_asked job=%s attempt=%d ask=%s", job.id, job.attempt, ask)
        return True

    def take_back(self, history: OpenHistory, decision: TakeBack) -> bool:
        job = history.job
        if not _is(job, State.QUEUED, decision.attempt):
            return False
        facts = {"attempt": job.attempt, "end": "lost", "cause": decision.cause}
        history.append(Event.LOSE, self.clock(), facts)
        log.info("job_taken_back job=%s attempt=%d cause=%r", job.id, job.attempt, decision.cause)
        return True

    def fail(self, history: OpenHistory, decision: Fail) -> bool:
        if history.job.state is not State.PENDING:
            return False
        history.append(Event.FAIL, self.clock(), {"reason": decision.reason})
        log.warning("job_failed job=%s reason=%r", history.job.id, decision.reason)
        return True


def _is(job: Job, state: State, attempt: int) -> bool:
    return job.state is state and job.attempt == attempt


_ON_DISK: dict[type, Callable[[DiskActs, OpenHistory, Any], bool]] = {
    Dispatch: DiskActs.dispatch,
    Resume: DiskActs.resume,
    Rescue: DiskActs.rescue,
    PushAgain: DiskActs.push_again,
    Preempt: DiskActs.preempt,
    Pause: DiskActs.pause,
    TakeBack: DiskActs.take_back,
    Fail: DiskActs.fail,
}
