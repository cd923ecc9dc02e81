"""What jobs taught of how long attempts survive: of those that go on one by one, of the others in all. Pure."""

from __future__ import annotations

from singlepoint.jobs.lifecycle.records import Job

from .reliability import Evidence, evidence


class Lessons:
    def __init__(self) -> None:
        self._evidence: dict[str, Evidence] = {}  # of each unfinished job
        self._going_on = Evidence()  # all of that
        self.ended = Evidence()
        """What those jobs taught that have ended, as far as known."""

    def goes_on(self, job: Job) -> bool:
        """An unfinished job was seen; whether it taught anything new."""
        return self._replace(job.id, evidence(job))

    def ends(self, job: Job) -> None:
        """A job has ended that went on when it was last seen."""
        self.ended = self.ended + evidence(job)

    def leaves(self, job_id: str) -> None:
        """It goes on no more."""
        self._replace(job_id, Evidence())

    def added_up(self, ended: Evidence, before: Evidence) -> None:
        """The ledger was added up. ended: what it says.  before: `ended` as it stood when that was begun."""
        self.ended = ended + (self.ended - before)

    def total(self) -> Evidence:
        """By all attempts that have ended."""
        return self.ended + self._going_on

    def _replace(self, job_id: str, new: Evidence) -> bool:
        old = self._evidence.pop(job_id, Evidence())
        if new != Evidence():
            self._evidence[job_id] = new
        self._going_on = self._going_on - old + new
        return new != old
