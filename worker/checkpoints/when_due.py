"""When a checkpoint is due: as the spec says; else as the scheduler granted, or by the cost of a save once measured.

The formula is `jobs.lifecycle.checkpoint_interval`. Saving is `saver`'s, for trainings; a prediction counts its rows.
"""

from __future__ import annotations

from singlepoint.jobs.lifecycle.checkpoint_interval import checkpoint_interval_s
from singlepoint.jobs.lifecycle.records import Terms
from singlepoint.worker.ground.usage import SaveCost
from singlepoint.worker.ground.work import Work

UNMEASURED = SaveCost()


def interval_s(asked_s: float | None, terms: Terms, saves: SaveCost) -> float:
    """Seconds of work until the next save. asked_s: what the spec says. saves: what they have cost up to now."""
    if asked_s is not None:
        return asked_s
    if not saves.saves:
        return terms.checkpoint_interval_s
    return checkpoint_interval_s(saves.save_s, terms.failure_rate_per_s)


class CheckpointDue:
    """Counts from the moment it was made, and anew from each `put_off`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.put_off()

    def is_now(self) -> bool:
        """Whether the next checkpoint should be made."""
        return self._work.place.monotonic() >= self._next_s

    def put_off(self, saves: SaveCost = UNMEASURED) -> None:
        """One was made, or need not be yet. saves: what they have cost up to now, where that was measured."""
        wait_s = interval_s(self._work.spec.checkpoint_interval_s, self._work.terms, saves)
        self._next_s = self._work.place.monotonic() + wait_s
