"""When to stop a training that no longer improves. Plain values only, so that a checkpoint can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from singlepoint.jobs.spec.training import EarlyStopping

from .metrics import LARGER_IS_BETTER


@dataclass
class EarlyStop:
    """How a monitored value has done so far.

    best: the best value seen, None before the first.  waited: epochs since then.  best_epoch: from 1, 0 before it.
    """

    options: EarlyStopping
    best: float | None = None
    waited: int = 0
    best_epoch: int = 0

    @property
    def stopped(self) -> bool:
        return self.waited >= self.options.patience

    def counters(self) -> dict[str, Any]:
        """All of it as plain JSON values; the float in hexadecimal, so that every bit survives."""
        best = None if self.best is None else float(self.best).hex()
        return {"best": best, "waited": self.waited, "best_epoch": self.best_epoch}

    def restored(self, counters: dict[str, Any]) -> EarlyStop:
        """One that goes on from `counters`. Raises KeyError, TypeError or ValueError when they are not readable."""
        best = None if counters["best"] is None else float.fromhex(counters["best"])
        return EarlyStop(self.options, best, int(counters["waited"]), int(counters["best_epoch"]))

    def observe(self, epoch: int, value: float | None) -> bool:
        """Takes note of an epoch's value; True when it is the best so far by more than `min_delta`.

        None: the epoch has none (a ratio of 0/0), which is no improvement.
        """
        if value is None:
            self.waited += 1
            return False
        sign = -1.0 if self.options.monitor in LARGER_IS_BETTER else 1.0
        threshold = inf if self.best is None else sign * self.best - self.options.min_delta
        if sign * value < threshold:
            self.best, self.waited, self.best_epoch = value, 0, epoch
            return True
        self.waited += 1
        return False
