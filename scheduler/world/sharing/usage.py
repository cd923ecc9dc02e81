"""What each project has had of the machine: core-seconds, the older the less they count. Pure.

Use decays by half in a half-life. What is held now counts as it goes on, exactly, however seldom one looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

HALF_LIFE_S = 7 * 86_400.0

REMEMBERED_BYTES = 2**20
"""Of the end of the ledger, which tell what was of late: some two thousand jobs, in a tenth of a second."""

Above = tuple[frozenset[str], float]
Sharing = Callable[[Mapping[str, float], Mapping[str, float], frozenset[str]], Above]
"""By what projects have had, what they have now a second, each over its weight, and who was above its share: who is
now, and in how many seconds that may change by itself."""


def nobody(_used: Mapping[str, float], _rates: Mapping[str, float], _before: frozenset[str]) -> Above:
    """Where shares count for nothing."""
    return frozenset(), math.inf


@dataclass(frozen=True)
class Shares:
    """used: decayed core-seconds by project, as of a time.  weights: of projects that are not worth 1."""

    used: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    half_life_s: float = HALF_LIFE_S


class Usage:
    """The same as it goes on."""

    def __init__(self, shares: Shares | None = None) -> None:
        self.begin_with(shares or Shares())
        self._cores: dict[str, int] = {}
        self._now = -math.inf

    def begin_with(self, shares: Shares) -> None:
        """That is what projects have had by now, whatever was counted before; what is held stays held."""
        self.weights, self.half_life_s = dict(shares.weights), shares.half_life_s
        self._used = dict(shares.used)

    def seen_at(self, now: float) -> None:
        """Time passes; where the clock was set back, from there on. What it began with is as of the first time."""
        if now <= self._now or self._now == -math.inf:
            self._now = now
            return
        left, rate = self._decay(now - self._now)
        for project in self._used.keys() | self._cores.keys():
            self._used[project] = self._used.get(project, 0.0) * left + self._cores.get(project, 0) * rate
        self._now = now

    def _decay(self, passed_s: float) -> tuple[float, float]:
        """What is left of use after so long, and what a core that was held all that time has come to."""
        left = 2.0 ** (-passed_s / self.half_life_s)
        return left, (1.0 - left) * self.half_life_s / math.log(2)

    def had(self, project: str, core_s: float, at: float) -> None:
        """It used so much, some time ago."""
        left, _ = self._decay(max(0.0, self._now - at))
        self._used[project] = self._used.get(project, 0.0) + core_s * left

    def holds(self, project: str, cores: int) -> None:
        """It holds so many more cores from now on; or, below 0, fewer."""
        self._cores[project] = self._cores.get(project, 0) + cores
        if not self._cores[project]:
            del self._cores[project]

    def per_weight(self, projects: frozenset[str]) -> dict[str, float]:
        """What each of these has had, over its weight."""
        return {project: self._used.get(project, 0.0) / self.weights.get(project, 1.0) for project in projects}

    def rates(self, projects: frozenset[str]) -> dict[str, float]:
        """What each of these has now, core-seconds a second over its weight."""
        return {project: self._cores.get(project, 0) / self.weights.get(project, 1.0) for project in projects}

    def as_of_now(self) -> Shares:
        return Shares(dict(self._used), dict(self.weights), self.half_life_s)
