"""For how long jobs that have ended are kept: the owner's rules, held against the ledger. Deletes nothing itself;
`scheduler.runtime.upkeep.deleting` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from singlepoint.jobs.clock import iso
from singlepoint.jobs.ledger.catalogue import Head

from .settings import ENDS, Retention, Rule


class Doom:
    """Says of one job after the other, the last to end first, whether it may be deleted now."""

    def __init__(self, retention: Retention, now: float) -> None:
        rules = {end: rule for end in ENDS if (rule := getattr(retention, end)) is not None}
        self._rules: dict[str, Rule] = {"": retention, **rules}
        self._before = {name: _iso_ago(now, rule.older_than_s) for name, rule in self._rules.items()}
        self._newer: Counter[str] = Counter()

    def takes(self, head: Head) -> bool:
        name = head.state if head.state in self._rules else ""
        self._newer[name] += 1
        return self._newer[name] > self._rules[name].keep and head.ended_at <= self._before[name]


def doomed(heads: Iterable[Head], retention: Retention, now: float) -> Iterator[Head]:
    """The jobs that may be deleted now. heads: of those that have ended, the last to end first."""
    doom = Doom(retention, now)
    return (head for head in heads if doom.takes(head))


def _iso_ago(now: float, length_s: float) -> str:
    """That long ago, as the ledger writes it; before every time when there is no such time."""
    return iso(now - length_s) if length_s < now else ""
