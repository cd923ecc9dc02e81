"""feedback."""

from __future__ import annotations

import math
from bisect import bisect_right

from singlepoint.scheduler.world.tasks import Standing, Task

from .ageing import age
from .rules import Overtaking, Rules

LEVELS_S = (60.0, 600.0, 3600.0, 21600.0)
SAFE = (-1, 0, 0)
QUANTUM_SWITCHES = 20


def ranking(task: Task, now: float, since: float | None) -> Standing:
    lifted, guard_at = age(task, now, since)
    if since is not None:
        if not task.gives_way or lifted == 0:
            return Standing(SAFE, SAFE)
        safe_until = since + QUANTUM_SWITCHES * task.switch_s
        if now < safe_until:
            return Standing(SAFE, SAFE, safe_until)
    ran_s = task.served_s + (now - since if since is not None else 0.0)
    level = bisect_right(LEVELS_S, ran_s)
    rank = (lifted, -task.priority, level)
    until = guard_at
    if since is not None and level < len(LEVELS_S):
        until = since + LEVELS_S[level] - task.served_s
        if until <= now:
            until = math.nextafter(now, math.inf)
    return Standing(rank, (*rank, not task.paused, task.submitted_at, task.id), until)


RULES = Rules("feedback", ranking, Overtaking.HARMLESS, gives_way=True)
