"""What the scheduler may decide to do, and the plan it is part of. Values only; `runtime.acting` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from singlepoint.jobs.lifecycle.records import Terms
from singlepoint.scheduler.world.tasks import Task


class Wait(StrEnum):
    """What a task that was looked at waits for: more than is free; what is being freed for it; somebody before it,
    whom it would delay; that the drain is over, before which it might not end."""

    LACKS = "lacks"
    COMES_FREE = "comes_free"
    WOULD_DELAY = "would_delay"
    DRAINS = "drains"


@dataclass(frozen=True)
class Reservation:
    """Room kept for a task from a time on (infinity: nobody can tell when)."""

    task: Task
    at: float


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
class Pause:
    """Ask a running attempt to stand still, with its memory kept, until it gets cores again."""

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


Decision = Dispatch | Resume | Rescue | PushAgain | Preempt | Pause | TakeBack | Fail


@dataclass(frozen=True)
class Plan:
    """What a policy answers. blocked: those it looked at, in order, and did not start: what each waits for.

    reservation: for whom room is kept.  look_again_at: when time alone may bring another answer; None: not by itself.
    shut: why nobody at all is started, `""` when that is not so.
    """

    decisions: tuple[Decision, ...] = ()
    blocked: Mapping[str, Wait] = field(default_factory=dict)
    reservation: Reservation | None = None
    look_again_at: float | None = None
    shut: str = ""
