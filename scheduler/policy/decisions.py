"""What the scheduler may decide to do. Values only; `policy` makes them, `acts` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from singlepoint.jobs.lifecycle.records import Terms


@dataclass(frozen=True)
class Dispatch:
    """Grant a new attempt room, and hand it to the workers."""

    job_id: str
    attempt: int
    terms: Terms


@dataclass(frozen=True)
class Resume:
    """Grant a paused attempt cores again."""

    job_id: str
    attempt: int
    terms: Terms


@dataclass(frozen=True)
class Rescue:
    """Write down that a running attempt is dead: its lock is free. end: `killed` or `host_restart`."""

    job_id: str
    attempt: int
    end: str
    cause: str


@dataclass(frozen=True)
class PushAgain:
    """Put a dispatched attempt into the run queue once more: no queue has it and nobody began it."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class Preempt:
    """Ask a running attempt to save and hand its room back."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class TakeBack:
    """Take the grant of an attempt back that nobody has begun."""

    job_id: str
    attempt: int
    cause: str


@dataclass(frozen=True)
class Fail:
    """End a waiting job that can never start."""

    job_id: str
    reason: str


Decision = Dispatch | Resume | Rescue | PushAgain | Preempt | TakeBack | Fail
