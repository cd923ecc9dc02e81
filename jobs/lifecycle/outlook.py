"""What is foreseen of a job: its start and end, whether it meets its deadline, and what would change that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from singlepoint.jobs.clock import local, seconds

from .reasons import Eta

GOOD = 0.9
"""A deadline that is met with this probability needs no warning."""


@dataclass(frozen=True)
class Change:
    """One thing that could be asked for otherwise, and what came of playing the line with it.

    words: as one would type it, `--priority 5`.  in_time: the chance to meet the deadline, None where there is none.
    """

    words: str
    eta: Eta
    in_time: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"change": self.words, "eta": self.eta.to_json(), "deadline_probability": self.in_time}


@dataclass(frozen=True)
class Outlook:
    """eta: None where no end is foreseen.  in_time: see `Change`.  changes: what would make it better, the cheapest
    first."""

    eta: Eta | None
    in_time: float | None = None
    changes: tuple[Change, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "eta": self.eta.to_json() if self.eta is not None else None,
            "deadline_probability": self.in_time,
            "changes": [change.to_json() for change in self.changes],
        }


def foreseen_lines(document: Mapping[str, Any], now: float) -> Iterator[str]:
    """For people: what an `Outlook.to_json` says, here or from elsewhere; local time. deadline_at: besides, if any."""
    for name, at in (document.get("eta") or {}).items():
        if at is not None:
            p10, p50, p90 = (local(seconds(at[quantile]), now) for quantile in ("p10", "p50", "p90"))
            yield f"{name}s {p50}, {p10} to {p90}"
    chance = document.get("deadline_probability")
    if chance is not None:
        when = f" {local(seconds(document['deadline_at']), now)}" if document.get("deadline_at") else ""
        yield f"{'warning: ' if chance < GOOD else ''}meets its deadline{when} with a probability of {chance:.0%}"
    for change in document.get("changes", ()):
        better = change["deadline_probability"]
        yield f"with {change['change']} the probability is {better:.0%}, and it ends {_end(change, now)}"


def _end(change: Mapping[str, Any], now: float) -> str:
    return local(seconds(change["eta"]["end"]["p50"]), now)
