"""easy: in order, but whoever does not delay the first that can't start may overtake it. Nothing is put down.

The first gets a reservation from the ends that were asked for; jobs without a limit count as endless, and only those
overtake which leave it what it needs. Source: Lifka, JSSPP 1995. On KTH-SP2, with the users' limits: average bounded
slowdown 92.7, mean wait 115 min, longest 73 h, wide jobs 13.8 h on average.
"""

from __future__ import annotations

from .ageing import by_priority
from .fair_share import above_share
from .rules import Overtaking, Rules

RULES = Rules("easy", by_priority, Overtaking.HARMLESS, sharing=above_share)
