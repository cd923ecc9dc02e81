"""A guard for those who have waited too long: from then on they go before everybody, whatever their priority. Pure."""

from __future__ import annotations

import math

from singlepoint.scheduler.world.tasks import Task

GUARD_S = 48 * 3600.0


def age(task: Task, now: float, since: float | None) -> tuple[int, float]:
    """0 once it has waited longer than the guard allows, else 1; and when that will change (while it waits)."""
    if since is not None:
        return int(task.waited_s(since) < GUARD_S), math.inf
    at = task.since + task.served_s + GUARD_S
    return (0, math.inf) if now >= at else (1, at)
