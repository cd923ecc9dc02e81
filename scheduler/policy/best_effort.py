"""best-effort."""

from __future__ import annotations

from .fifo import by_priority
from .rules import Overtaking, Rules

RULES = Rules("best-effort", by_priority, Overtaking.ANYBODY)
