"""Which jobs came of late, whatever became of them: what is yet to come is taken to be like them. Pure.

Told of each as it is first seen, in any order, and of the newest that ended before a scheduler began.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from singlepoint.jobs.lifecycle.records import Job

REMEMBERED = 51


class Arrivals:
    """The newest `REMEMBERED` of them, the oldest first."""

    def __init__(self) -> None:
        self._newest: list[Job] = []

    def __iter__(self) -> Iterator[Job]:
        return iter(self._newest)

    def came(self, job: Job) -> None:
        """One came; or came back, which is no news."""
        newest = self._newest
        if len(newest) == REMEMBERED and job.submitted_at < newest[0].submitted_at:
            return  # as of most of a hundred thousand that wait when a scheduler begins
        if all(one.id != job.id for one in newest):
            insort(newest, job, key=lambda one: one.submitted_at)
            del newest[:-REMEMBERED]

    def set_back(self, now: float) -> None:
        """The clock was: those that came later than that would stay the newest until then."""
        self._newest = [one for one in self._newest if one.submitted_at <= now]
