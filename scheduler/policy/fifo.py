"""fifo: strictly in order, by priority, then first come; nobody overtakes."""

from __future__ import annotations

from singlepoint.scheduler.world.tasks import Standing, Task

from .ageing import age
from .rules import Overtaking, Rules


def by_priority(task: Task, now: float, since: float | None) -> Standing:
    """Higher priority first, then first come; whoever has waited too long before all of them."""
    lifted, until = age(task, now, since)
    rank = (lifted, -task.priority, 0)
    return Standing(rank, (*rank, not task.paused, task.submitted_at, task.id), until)


RULES = Rules("fifo", by_priority, Overtaking.NOBODY)
