"""When a job may begin, how long it has run, what a save costs it, which attempts ended since it was seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from singlepoint.jobs.lifecycle.checkpoint_interval import UNMEASURED_SAVE_S
from singlepoint.jobs.lifecycle.records import Attempt, Job
from singlepoint.jobs.lifecycle.states import State


def begin_at(job: Job) -> float:
    """When it may start, as its owner wishes; one that ran once has waited for that already."""
    return 0.0 if job.attempts else job.begin_at


def served_s(job: Job) -> float:
    """Seconds it ran before this stint: in attempts that have ended, and in one that stands still."""
    newest = job.newest
    stands_still = newest is not None and newest.ended_at is None and newest.paused_at is not None
    return job.worked_s + (newest.worked_s(newest.paused_at or 0.0) if newest and stands_still else 0.0)


def stint_began_at(job: Job) -> float:
    """When what it holds began to be used, as its history says; what it stood still before is left out."""
    newest = job.attempts[-1]
    return (newest.started_at or newest.dispatched_at) + newest.paused_s


def stint_s(job: Job, now: float) -> float:
    """Seconds since its attempt began, of one that runs: what it holds is reckoned from there."""
    newest = job.newest
    running = newest is not None and newest.ended_at is None and job.state is not State.PENDING and not job.paused
    return newest.worked_s(now) if running and newest else 0.0


def save_s(job: Job) -> float:
    """What a save costs the job, as its last attempt that saved measured it."""
    return UNMEASURED_SAVE_S if job.save_s is None else job.save_s


def ended_since(before: Job | None, job: Job) -> Iterator[Attempt]:
    """The attempts that went on when the job was last seen, and the newer ones, if they have ended by now."""
    if before is None:
        return  # what ended before anybody looked belongs to a time that nobody measured
    known = before.attempt - 1 if before.newest is not None and before.newest.ended_at is None else before.attempt
    newer = job.attempts[len(job.attempts) - max(0, job.attempt - known) :]
    yield from (attempt for attempt in newer if attempt.ended_at is not None)
