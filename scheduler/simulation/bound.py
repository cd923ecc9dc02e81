"""srpt: shortest remaining work first, with perfect knowledge and switches that cost nothing: a bound, no policy.

What is left of the way from `feedback` to here is what not knowing the future costs.
"""

from __future__ import annotations

from singlepoint.scheduler.policy.rules import Overtaking, Rules
from singlepoint.scheduler.world.tasks import Standing, Task

STEP_S = 60.0
"""Ranks are whole steps of remaining work, so that a running job's rank changes no oftener than it must."""


def ranking(task: Task, now: float, since: float | None) -> Standing:
    left_s = max(0.0, (task.expected_s or 0.0) - (now - since if since is not None else 0.0))
    steps = int(left_s // STEP_S)
    rank = (0, 0, steps)
    until = now + left_s - steps * STEP_S + 1e-3 if since is not None and steps else float("inf")
    return Standing(rank, (*rank, left_s, task.submitted_at, task.id), until, quiet=True)


RULES = Rules("srpt", ranking, Overtaking.ANYBODY, gives_way=True)
