"""How often an interval held what came."""

from __future__ import annotations

from dataclasses import dataclass

from singlepoint.jobs.lifecycle.reasons import Quantiles

SAME_S = 0.01
"""So little is no difference."""


@dataclass
class Tally:
    """What was foreseen beside what came. named: for the printed line."""

    named: str
    inside: int = 0
    early: int = 0
    late: int = 0

    def add(self, foreseen: Quantiles, came: float) -> None:
        low, high = foreseen[0] - SAME_S, foreseen[-1] + SAME_S
        self.early += came < low
        self.late += came > high
        self.inside += low <= came <= high

    def __str__(self) -> str:
        count = self.inside + self.early + self.late
        shares = (100 * one / max(1, count) for one in (self.inside, self.early, self.late))
        return "{} {:5.1f}% of {} within, {:.1f}% earlier, {:.1f}% later".format(
            f"{self.named:34}", next(shares), count, *shares
        )
