"""Who comes after whom, and how those ended that others come after. Pure."""

from __future__ import annotations

from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State


class Succession:
    """keeps_outcomes: how every job ended is remembered; where it can be looked up, only that of jobs that others come
    after is.
    """

    def __init__(self, *, keeps_outcomes: bool) -> None:
        self._keeps_outcomes = keeps_outcomes
        self._outcomes: dict[str, State | None] = {}  # None: removed, and nobody knows how it had ended
        self._dependents: dict[str, set[str]] = {}

    # --- what happened -----------------------------------------------------------------------------------

    def goes_on(self, job: Job) -> bool:
        """An unfinished job was seen; whether it had ended before."""
        for one in job.after:
            self._dependents.setdefault(one.job, set()).add(job.id)
        return self._outcomes.pop(job.id, None) is not None

    def leaves(self, job: Job) -> None:
        """It waits for nobody any more."""
        for other in {one.job for one in job.after}:
            dependents = self._dependents.get(other, set())
            dependents.discard(job.id)
            if not dependents:
                self._dependents.pop(other, None)
                if not self._keeps_outcomes:
                    self._outcomes.pop(other, None)

    def ended(self, job_id: str, state: State) -> None:
        if self._is_worth_keeping(job_id):
            self._outcomes[job_id] = state

    def removed(self, job_id: str, had_ended: State | None) -> None:
        """had_ended: in which way, before it was removed; None where nobody knows."""
        if self._is_worth_keeping(job_id):
            self._outcomes.setdefault(job_id, had_ended)

    def _is_worth_keeping(self, job_id: str) -> bool:
        return self._keeps_outcomes or job_id in self._dependents

    # --- questions ---------------------------------------------------------------------------------------

    def outcome(self, job_id: str) -> State | None:
        """How a job ended, if it did."""
        return self._outcomes.get(job_id)

    def knows_end_of(self, job_id: str) -> bool:
        return job_id in self._outcomes

    def dependents(self, job_id: str) -> list[str]:
        """The unfinished jobs that come after it."""
        return sorted(self._dependents.get(job_id, ()))

    def is_needed(self, job_id: str) -> bool:
        """Whether an unfinished job comes after it."""
        return job_id in self._dependents

    def doom(self, job: Job) -> str | None:
        """Which of the jobs it comes after keeps it from ever starting, and why."""
        ended = ((one, self._outcomes[one.job]) for one in job.after if one.job in self._outcomes)
        told = ((one.job, one.never(outcome)) for one, outcome in ended)
        return next((f"{other}, which {why}" for other, why in told if why is not None), None)

    def must_wait(self, job: Job) -> bool:
        """Whether something it comes after has not ended."""
        return any(one.job not in self._outcomes for one in job.after)
