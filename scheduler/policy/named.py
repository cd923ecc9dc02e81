"""The policies by name, for `up --policy`, `scheduler --policy` and `simulate --policy`."""

from __future__ import annotations

from collections.abc import Mapping

from singlepoint.jobs.errors import UsageError

from . import best_effort, easy, feedback, fifo
from .rules import Rules

POLICIES: Mapping[str, Rules] = {
    rules.name: rules for rules in (feedback.RULES, easy.RULES, fifo.RULES, best_effort.RULES)
}
DEFAULT = "feedback"


def require_policy(name: str) -> str:
    """The name, when it is one; raises UsageError."""
    if name not in POLICIES:
        raise UsageError(f"--policy: {name!r} is none of {', '.join(POLICIES)}")
    return name
