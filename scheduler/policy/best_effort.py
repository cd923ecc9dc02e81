"""best-effort: in order, and whoever fits starts. Wide work starts when the narrow happens to leave room for it.

On KTH-SP2: average bounded slowdown 71.2, mean wait 95 min; but the longest wait is 479 h, and wide jobs wait 31 h on
average. Nobody is lifted for having waited: that is the baseline it stands for.
"""

from __future__ import annotations

from singlepoint.scheduler.world.books import by_arrival

from .rules import Overtaking, Rules

RULES = Rules("best-effort", by_arrival, Overtaking.ANYBODY)
