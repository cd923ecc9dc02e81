"""Where every unfinished job stands in the scheduler's eyes, and in which order. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from enum import StrEnum

from singlepoint.jobs.lifecycle.records import Job

from .job_times import begin_at
from .line import Key, Line, key


class Place(StrEnum):
    """The first that applies; which one that is, the world knows."""

    RUNNING = "running"
    RESUMING = "resuming"  # paused, told to go on, needs cores
    QUEUED = "queued"  # dispatched, not claimed
    ENDING = "ending"  # pending, but an earlier attempt may still live
    DOOMED = "doomed"  # what it comes after will never succeed
    HELD = "held"
    AFTER = "after"  # what it comes after has not ended
    DELAYED = "delayed"  # until its begin, or backing off
    OVERSIZED = "oversized"  # asks for more than there is
    READY = "ready"


HOLDING = frozenset({Place.RUNNING, Place.RESUMING, Place.QUEUED, Place.ENDING})
WAITING = frozenset({Place.READY, Place.RESUMING})
ASIDE = frozenset({Place.DOOMED, Place.HELD, Place.AFTER, Place.DELAYED})
"""Whoever stands there could not start whatever were free: it does not age. One that is too large does: what there is
changes by itself."""

LOCKED = frozenset({Place.RUNNING, Place.RESUMING, Place.ENDING})
"""Whoever stands there may hold the lock of the job's directory."""


class Places:
    """One line for each place; and the alarms of those that are delayed."""

    def __init__(self) -> None:
        self.lines: Mapping[Place, Line] = {place: Line() for place in Place}
        self._of: dict[str, tuple[Place, Key]] = {}
        self._alarms: list[tuple[float, str]] = []

    def put(self, job: Job, place: Place) -> None:
        """It stands there; it stood nowhere."""
        one = key(job)
        self._of[job.id] = (place, one)
        self.lines[place].add(one)
        if place is Place.DELAYED:
            heapq.heappush(self._alarms, (max(begin_at(job), job.not_before), job.id))

    def leave(self, job_id: str) -> None:
        """It stands nowhere."""
        if job_id in self._of:
            place, one = self._of.pop(job_id)
            self.lines[place].remove(one)

    def of(self, job_id: str) -> Place | None:
        """Where it stands; None when it is finished or unknown."""
        found = self._of.get(job_id)
        return found[0] if found else None

    def delayed_until(self, now: float) -> Iterator[str]:
        """Those that may go on by now; each is told once, and is to be put elsewhere."""
        while self._alarms and self._alarms[0][0] <= now:
            _, job_id = heapq.heappop(self._alarms)
            if self.of(job_id) is Place.DELAYED:
                yield job_id

    def next_alarm(self) -> float | None:
        """When the next delayed job may go on (perhaps; it may have been cancelled)."""
        return self._alarms[0][0] if self._alarms else None
