"""What each project has had of the machine of late, as fair share counts it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.spent import account_of_round, granted_so_far
from singlepoint.scheduler.world.sharing.usage import Shares, Usage


def projects(ended: Iterable[Entry], going_on: Iterable[Job], shares: Shares, now: float) -> dict[str, Any]:
    """By project, `""` for none: core-seconds, the older the less they count; the part of all; and what it is worth.

    ended: jobs that have.  going_on: those that have not.  shares: weights and half-life; nothing used yet.
    """
    usage = Usage(shares)
    usage.seen_at(now)
    for entry in ended:
        usage.had(entry.project, entry.account.granted_core_s, entry.ended_at)
    for job in going_on:
        usage.had(job.project, account_of_round(job).granted_core_s + granted_so_far(job, now).granted_core_s, now)
    used = usage.as_of_now().used
    total = sum(used.values())
    return {
        name: {"core_s": core_s, "part": core_s / total, "weight": shares.weights.get(name, 1.0)}
        for name, core_s in sorted(used.items())
        if core_s > 0
    }
