"""The policies by name, for `up --policy`, `scheduler --policy` and `simulate --policy`."""

from __future__ import annotations

from collections.abc import Mapping

from . import best_effort, easy, feedback, fifo
from .rules import Rules

POLICIES: Mapping[str, Rules] = {
    rules.name: rules for rules in (feedback.RULES, easy.RULES, fifo.RULES, best_effort.RULES)
}
DEFAULT = "feedback"
