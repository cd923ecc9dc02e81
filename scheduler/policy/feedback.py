"""feedback: the least expected remaining work first, and running work gives way to it.

What a job has left is told by a level: from the estimate where there is one (like jobs, progress), else from how long
it has run, since what has run long will run long. Within a level the least remaining core-seconds go first, then first
come; only a better level puts running work down, so equals are never sliced. Whoever has run less than twenty switches
cost is left alone, which keeps what switching wastes below five per cent, and so is whoever can't be put down: for
those the first in line gets a reservation, as under `easy`. Of the last ones that wait, a core for each, the longest
of a level goes first, so that the cores are done at about the same time.

On KTH-SP2 without any estimate, 10 s lost a switch: average bounded slowdown 1.33, mean wait 42 min, longest 54 h, wide
jobs 7.7 h on average, 0.70 switches a job.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from singlepoint.scheduler.world.tasks import Rank, Standing, Task

from .ageing import LIFTED, age, in_turn
from .fair_share import above_share, standing_back
from .rules import Overtaking, Rules

LEVELS_S = (60.0, 600.0, 3600.0, 21_600.0)
"""Where one level ends and the next begins: seconds it has run, or core-seconds it should still take."""

QUANTUM_SWITCHES = 20

LEFT_ALONE: Rank = (-1, 0, 0)


def ranking(task: Task, now: float, since: float | None) -> Standing:
    """Where a task stands: lifted or not, priority, level. since: from when on it runs, None while it waits."""
    lifted, lifted_at = age(task, now, since)
    if since is None:
        if lifted == LIFTED:
            return in_turn(task)
        level, work = _level(task, 0.0)
        rank = (lifted, -task.priority, standing_back(task) + level)
        return Standing(rank, (*rank, work, not task.paused, task.submitted_at, task.id), lifted_at)
    quantum_ends_at = since + QUANTUM_SWITCHES * task.switch_s
    if not task.gives_way or lifted == LIFTED:
        return Standing(LEFT_ALONE, LEFT_ALONE)
    if now < quantum_ends_at:
        return Standing(LEFT_ALONE, LEFT_ALONE, quantum_ends_at)
    level, _ = _level(task, now - since)
    rank = (lifted, -task.priority, standing_back(task) + level)
    until = max(_next_level_at(task, level, since), math.nextafter(now, math.inf))
    return Standing(rank, rank, until, quiet=task.expected_s is not None)  # which goes up, and so makes no room


def _level(task: Task, ran_s: float) -> tuple[int, float]:
    """Its level after it ran for so long, and the core-seconds that it should still take."""
    if task.expected_s is None:
        level = bisect_right(LEVELS_S, task.served_s + ran_s)
        return level, LEVELS_S[min(level, len(LEVELS_S) - 1)]
    work = max(0.0, task.expected_s - ran_s) * task.cores
    return bisect_right(LEVELS_S, work), work


def _next_level_at(task: Task, level: int, since: float) -> float:
    """When running alone changes its level: up with time where nothing is known, down where the end is in sight."""
    if task.expected_s is None:
        return since + LEVELS_S[level] - task.served_s if level < len(LEVELS_S) else math.inf
    return since + task.expected_s - LEVELS_S[level - 1] / max(1, task.cores) if level else math.inf


RULES = Rules("feedback", ranking, Overtaking.HARMLESS, gives_way=True, sharing=above_share, last_round=True)
