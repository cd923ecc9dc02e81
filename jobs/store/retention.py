"""For how long jobs that have ended are kept: the owner's rules, held against the ledger. Deletes nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from singlepoint.jobs.clock import iso
from singlepoint.jobs.lifecycle.ledger import Head

from .settings import ENDS, Retention, Rule


def doomed(heads: Iterable[Head], retention: Retention, now: float) -> Iterator[Head]:
    """The jobs that may be deleted now. heads: of those that have ended, the last to end first."""
    rules: dict[str, Rule] = {end: rule for end in ENDS if (rule := getattr(retention, end)) is not None}
    before = {name: _iso_ago(now, rule.older_than_s) for name, rule in {**rules, "": retention}.items()}
    newer: Counter[str] = Counter()
    for head in heads:
        name = head.state if head.state in rules else ""
        newer[name] += 1
        if newer[name] > rules.get(name, retention).keep and head.ended_at <= before[name]:
            yield head


def _iso_ago(now: float, length_s: float) -> str:
    """That long ago, as the ledger writes it; before every time when there is no such time."""
    return iso(now - length_s) if length_s < now else ""
