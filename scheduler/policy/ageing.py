"""Nobody waits for ever: who has waited longer than the guard allows goes before everybody, of any priority. Pure.

Waiting is all the time since the job could first have started, less the time it ran; so work that was put down again
and again ages too, and once lifted it is put down no more.
"""

from __future__ import annotations

import math

from singlepoint.scheduler.world.tasks import Standing, Task

from .fair_share import standing_back

GUARD_S = 48 * 3600.0
"""On the log KTH-SP2 a guard of 48 h kept the longest wait below that of EASY, and cost the mean nothing."""

LIFTED, ORDINARY = 0, 1


def age(task: Task, now: float, since: float | None) -> tuple[int, float]:
    """LIFTED or ORDINARY, and when that will change by itself. since: from when on it runs, None while it waits."""
    if since is not None:
        return (ORDINARY if task.waited_s(since) < GUARD_S else LIFTED), math.inf
    at = task.since + task.served_s + GUARD_S
    return (LIFTED, math.inf) if now >= at else (ORDINARY, at)


def in_turn(task: Task) -> Standing:
    """Of those that were lifted, whoever came first goes first: nothing else counts, or some would wait for ever."""
    rank = (LIFTED, 0, 0)
    return Standing(rank, (*rank, task.since, task.id))


def by_priority(task: Task, now: float, since: float | None) -> Standing:
    """Whoever was lifted first, then higher priority, then whose project does not stand back, then first come; what
    stands paused before its equals."""
    lifted, until = age(task, now, since)
    if lifted == LIFTED:
        return in_turn(task)
    rank = (lifted, -task.priority, standing_back(task))
    return Standing(rank, (*rank, not task.paused, task.submitted_at, task.id), until)
