"""Fair share between projects: who has had more than its share goes after those that have not, of equal priority. Pure.

A share is what all projects that want something have had, by their weights. A little more than that is no reason to
stand back, or work would go to and fro: a project does from `TOLERANCE` above it on, and no more once it is level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from singlepoint.scheduler.world.tasks import Task

TOLERANCE = 0.05
LEAST_CORE_S = 60.0
"""By so much more than its share a project must have had before it stands back."""

LEAST_S = 1.0
"""Nothing is looked at again sooner."""

STANDS_BACK = 100
"""Added to the level of those that do: behind every level of the others."""


def above_share(
    used: Mapping[str, float], rates: Mapping[str, float], before: frozenset[str]
) -> tuple[frozenset[str], float]:
    """The projects that stand back, and in how many seconds that may change by itself.

    used: what each has had, over its weight; all that want something now.  rates: what each has now, in a second.
    before: those that stood back until now.
    """
    if len(used) < 2:
        return frozenset(), math.inf
    share, rate = (sum(of.values()) / len(used) for of in (used, rates))
    spare = max(LEAST_CORE_S, TOLERANCE * share)
    above = frozenset(name for name, had in used.items() if had > share + spare or (name in before and had > share))
    changes_s = [_crosses_s(used[name] - share, rates[name] - rate, 0.0 if name in above else spare) for name in used]
    return above, max(LEAST_S, min(changes_s))


def _crosses_s(ahead: float, gains: float, line: float) -> float:
    """Seconds until what is so far ahead, and gains so much a second, comes to a line; infinity if it does not."""
    return (line - ahead) / gains if (line - ahead) * gains > 0 else math.inf


def standing_back(task: Task) -> int:
    """What its rank is worse by."""
    return STANDS_BACK if task.stands_back else 0
