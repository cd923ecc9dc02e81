"""easy."""

from __future__ import annotations

from .fifo import by_priority
from .rules import Overtaking, Rules

RULES = Rules("easy", by_priority, Overtaking.HARMLESS)
