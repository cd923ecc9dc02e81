"""How long jobs take: a distribution from what like jobs took, sharpened by progress once a job runs. Pure.

Run times of like jobs are taken as log-normal. Few of them leave doubt: the spread is held loosely, as if one more
job had been seen that was off by `DOUBT`, and the interval widens with the error of the mean.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.records import Sample
from singlepoint.jobs.lifecycle.states import State

REMEMBERED = 20
"""Of like jobs the last so many count: what a machine does changes."""

RENEWED_AT = frozenset({1, 3, 10})
DRIFT = 1.5
"""An estimate stands for all like jobs alike, so that they keep their order, until so many were seen, or until the
newer ones take so many times longer or shorter."""

DOUBT = 0.4
Z80 = 1.2816
LEAST_S = 0.001

EARLIEST_S = 3.0
"""Progress of fewer seconds says little: the start is not like the rest."""


@dataclass(frozen=True)
class Estimate:
    """Seconds: one in ten takes less than low_s, half less than median_s, one in ten more than high_s.

    source: `like`, what like jobs took, or `progress`.
    """

    low_s: float
    median_s: float
    high_s: float
    source: str

    def at(self, normal: float) -> float:
        """The value at so many standard deviations of the logarithm."""
        spread = math.log(self.high_s / self.median_s) if normal > 0 else math.log(self.median_s / self.low_s)
        return self.median_s * math.exp(normal / Z80 * spread)


STARTING = Estimate(0.02, 0.06, 0.3, "nothing")
"""Seconds between a grant and the work, where nothing was learned yet."""


class Experience:
    """What like jobs took, by their likeness."""

    def __init__(self) -> None:
        self._took: dict[str, deque[tuple[float, float]]] = {}
        self._stands: dict[str, Estimate] = {}
        self._started: deque[float] = deque(maxlen=REMEMBERED)

    def learn(self, entries: Iterable[Entry]) -> set[str]:
        """Jobs that have ended, oldest first; those that succeeded teach. The likenesses of which another estimate
        stands now."""
        news = set()
        for entry in entries:
            account = entry.account
            took_s = account.wall_s - account.paused_s - account.lost_s
            if entry.like and entry.state is State.SUCCEEDED and took_s > 0:
                known = self._took.setdefault(entry.like, deque(maxlen=REMEMBERED))
                known.append((took_s, account.cpu_s))
                if entry.cores and not account.paused_s and (attempts := sum(account.ends.values())):
                    self._started.append((account.granted_core_s / entry.cores - account.wall_s) / attempts)
                if self._is_news(entry.like):
                    news.add(entry.like)
        return news

    def _is_news(self, like: str) -> bool:
        known, stands = self._took[like], self._stands.get(like)
        new = _log_normal([wall_s for wall_s, _ in known])
        if new is None:
            return False
        drift = max(new.median_s / stands.median_s, stands.median_s / new.median_s) if stands else math.inf
        if len(known) not in RENEWED_AT and drift < DRIFT:
            return False
        self._stands[like] = new
        return True

    def starting(self) -> Estimate:
        """Seconds between a grant and the beginning of the work: a process starts, whatever the job."""
        return _log_normal(list(self._started)) or STARTING

    def run_time(self, like: str) -> Estimate | None:
        """Seconds from nothing to the end, None when no like job is known."""
        return self._stands.get(like)

    def cpu_time(self, like: str) -> Estimate | None:
        """The same in seconds of processor time."""
        return _log_normal([cpu_s for _, cpu_s in self._took.get(like, ()) if cpu_s > 0])


def _log_normal(values: list[float]) -> Estimate | None:
    if not values:
        return None
    logs = [math.log(max(value, LEAST_S)) for value in values]
    mean, count = sum(logs) / len(logs), len(logs)
    variance = (DOUBT**2 + sum((one - mean) ** 2 for one in logs)) / count
    spread = Z80 * math.sqrt(variance * (1 + 1 / count))
    return Estimate(math.exp(mean - spread), math.exp(mean), math.exp(mean + spread), "like")


def by_progress(sample: Sample, paused_s: float = 0.0) -> Estimate | None:
    """Seconds that a running attempt still needs, as of its sample; None while too little is done to tell.

    paused_s: how long of its time it has stood still.
    """
    done, worked_s = sample.progress - sample.began_progress, sample.wall_s - paused_s
    if done <= 0 or worked_s < EARLIEST_S:
        return None
    left_s = max(LEAST_S, worked_s * (1 - sample.progress) / done)
    spread = math.exp(Z80 * (0.05 + 0.3 * (1 - sample.progress) / (1 + 20 * done)))
    return Estimate(left_s / spread, left_s, left_s * spread, "progress")


def what_is_left(whole: Estimate, ran_s: float) -> Estimate:
    """Of a job that has run for so long already. One that outran what was expected is taken to be of the slow ones."""
    least = 0.1 * max(whole.median_s, ran_s)
    return Estimate(
        max(whole.low_s - ran_s, 0.5 * least),
        max(whole.median_s - ran_s, least),
        max(whole.high_s - ran_s, 2 * least),
        whole.source,
    )
