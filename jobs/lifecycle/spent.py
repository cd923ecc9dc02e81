"""What attempts came to: of one, of a job since it was last retried, of the one that goes on. Pure.

The sums of a job are kept by the fold of its history, so that nobody walks thousands of attempts to know them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from .account import Account, Sum
from .records import Attempt, Job
from .retry import OWN_FAULT, is_quarantined


def spent(attempt: Attempt) -> Account:
    """What one attempt came to; nothing while it goes on."""
    if attempt.ended_at is None:
        return Account()
    usage, granted = attempt.usage, attempt.terms.resources
    held_s = max(0.0, attempt.ended_at - attempt.dispatched_at)
    ends = {attempt.end: 1} if attempt.end else {}
    wall_s = max(0.0, attempt.ended_at - attempt.started_at) if attempt.started_at is not None else 0.0
    paused_s = wall_s - attempt.worked_s(attempt.ended_at)
    known = Account(
        ends=ends,
        own_ends={end: 1 for end in ends if end in OWN_FAULT},
        wall_s=wall_s,
        paused_s=paused_s,
        steps=attempt.steps or 0,
        lost_s=attempt.lost_s or 0.0,
        granted_core_s=granted.cpu_millis / 1000 * (held_s - paused_s),
        granted_byte_s=granted.memory_bytes * held_s,
        began_at=attempt.dispatched_at,
    )
    if usage is None:
        return known
    wasted = Waste.of(attempt)
    useful_core_s, used_byte_s = max(0.0, usage.cpu_s - wasted.core_s), usage.peak_memory_bytes * held_s
    share = useful_core_s / usage.cpu_s if usage.cpu_s > 0 else 1.0
    return replace(
        known,
        cpu_s=usage.cpu_s,
        peak_memory_bytes=usage.peak_memory_bytes,
        saves=usage.saves,
        saving_s=usage.overhead_s,
        used_byte_s=used_byte_s,
        useful_core_s=useful_core_s,
        useful_byte_s=share * used_byte_s,
    )


def account(attempts: Iterable[Attempt]) -> Account:
    """What the ended ones of `attempts` came to."""
    total = Sum({})
    for one in attempts:
        if one.ended_at is not None:
            total.add(vars(spent(one)))
    return total.account()


@dataclass(frozen=True)
class Waste:
    """What of an attempt's core-seconds did not move its job on: saves, work that has to be done again, and all of an
    attempt that failed by its own fault. The rest was useful, whatever the work needed first: to load its libraries,
    to read its data."""

    saving_core_s: float = 0.0
    repeated_core_s: float = 0.0
    failed_core_s: float = 0.0

    @property
    def core_s(self) -> float:
        return self.saving_core_s + self.repeated_core_s + self.failed_core_s

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """Of an attempt that has ended; nothing where nobody measured what it used."""
        if attempt.usage is None:
            return cls()
        core_s = attempt.usage.cpu_s
        if attempt.end in OWN_FAULT:
            return cls(failed_core_s=core_s)
        worked_s = attempt.worked_s(attempt.ended_at or 0.0)
        saving_core_s = min(core_s, attempt.usage.overhead_s)
        lost_share = min(1.0, (attempt.lost_s or 0.0) / worked_s) if worked_s > 0 else 0.0
        return cls(saving_core_s, (core_s - saving_core_s) * lost_share)


def account_of_round(job: Job) -> Account:
    """Of the attempts since the job was last retried: those before are in an entry of their own.

    A quarantined job fails by its own doing, so that it ran out of memory says nothing of this machine.
    """
    out_of_memory = job.round.ends.get(_OUT_OF_MEMORY, 0)
    if not out_of_memory or not is_quarantined(job):
        return job.round
    return replace(job.round, own_ends={**job.round.own_ends, _OUT_OF_MEMORY: out_of_memory})


_OUT_OF_MEMORY = "out_of_memory"


def granted_so_far(job: Job, at: float) -> Account:
    """What the attempt that goes on has been granted by now; nothing where none does."""
    newest = job.newest
    if newest is None or newest.ended_at is not None:
        return Account()
    granted, held_s = newest.terms.resources, max(0.0, at - newest.dispatched_at)
    paused_s = max(0.0, at - (newest.started_at or at)) - newest.worked_s(at)
    return Account(
        granted_core_s=granted.cpu_millis / 1000 * (held_s - paused_s),
        granted_byte_s=granted.memory_bytes * held_s,
        began_at=newest.dispatched_at,
    )
