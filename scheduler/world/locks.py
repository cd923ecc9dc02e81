"""What was seen of the kernel locks on the jobs' directories, and what follows from it. Pure.

A lock that nobody has tried is taken for held, and has to be tried before anything is granted.
"""

from __future__ import annotations

from collections.abc import Iterator

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State

from .places import LOCKED, Place


class Locks:
    def __init__(self) -> None:
        self._held: dict[str, bool] = {}
        self._unprobed: set[str] = set()
        self._dead: set[str] = set()

    def seen(self, job_id: str, held: bool) -> bool:
        """The lock was tried; whether that is news."""
        is_news = self._held.get(job_id) is not held
        self._held[job_id] = held
        return is_news

    def forget(self, job_id: str) -> None:
        """What was seen says nothing any more."""
        self._held.pop(job_id, None)

    def stands(self, job_id: str, place: Place) -> None:
        """The job stands there now: somebody may hold its lock, or should."""
        self.leaves(job_id)
        if place in LOCKED:
            if job_id not in self._held:
                self._unprobed.add(job_id)
            elif not self._held[job_id] and place is not Place.ENDING:
                self._dead.add(job_id)

    def leaves(self, job_id: str) -> None:
        """The job stands nowhere."""
        self._unprobed.discard(job_id)
        self._dead.discard(job_id)

    def may_be_held(self, job_id: str) -> bool:
        """It was seen so, or nobody has looked."""
        return self._held.get(job_id, True)

    def unprobed(self) -> Iterator[str]:
        """Jobs whose lock has to be tried before anything is granted: nobody has looked."""
        return iter(sorted(self._unprobed))

    def dead(self) -> Iterator[str]:
        """Running jobs whose lock is free, whatever their process looks like."""
        return iter(sorted(self._dead))


def is_news_of_its_lock(before: Job | None, job: Job) -> bool:
    """Whether somebody may have taken the job's lock since it was last tried."""
    if job.state is State.PENDING:
        return before is not None and before.state is State.QUEUED  # claimed and lost again, between two looks
    begun = before is None or before.state is not State.RUNNING or before.attempt != job.attempt
    return job.state is State.RUNNING and begun
