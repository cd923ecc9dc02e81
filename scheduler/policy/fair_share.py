"""Fair share between projects: who has had more than its share goes after those that have not, of equal priority. Pure.

A share is what all projects that want something have had, by their weights. A little more than that is no reason to
stand back, or work would go to and fro: a project does from `TOLERANCE` above it on, and no more once it is level.
"""

from __future__ import annotations

from collections.abc import Mapping

from singlepoint.scheduler.world.tasks import Task

TOLERANCE = 0.05
LEAST_CORE_S = 60.0
"""By so much more than its share a project must have had before it stands back."""

STANDS_BACK = 100
"""Added to the level of those that do: behind every level of the others."""


def above_share(used: Mapping[str, float], before: frozenset[str]) -> frozenset[str]:
    """The projects that stand back. used: what each has had, over its weight; all that want something now.

    before: those that stood back until now.
    """
    if len(used) < 2:
        return frozenset()
    share = sum(used.values()) / len(used)
    above = share + max(LEAST_CORE_S, TOLERANCE * share)
    return frozenset(name for name, had in used.items() if had > above or (name in before and had > share))


def standing_back(task: Task) -> int:
    """What its rank is worse by."""
    return STANDS_BACK if task.stands_back else 0
