"""What running attempts tell of themselves, and how much longer their jobs should take. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from singlepoint.jobs.lifecycle.records import Job, Sample
from singlepoint.scheduler.world.job_times import served_s, stint_s

from .experience import Estimate, by_progress, what_is_left


class Progress:
    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}
        self._left: dict[str, tuple[float, Estimate]] = {}  # after how many seconds of work, and what was left then

    def told(self, samples: Mapping[str, Sample], jobs: Mapping[str, Job]) -> list[Job]:
        """What running attempts tell now; the jobs of which that says when they should end.

        samples: by the id of the job. Those of attempts that are not the newest say nothing any more.
        jobs: the unfinished ones.
        """
        self._samples = {
            job_id: sample
            for job_id, sample in samples.items()
            if (job := jobs.get(job_id)) is not None and job.attempt == sample.attempt
        }
        foreseen = []
        for job_id, sample in self._samples.items():
            job = jobs[job_id]
            worked_s = job.newest.worked_s(sample.at) if job.newest else 0.0
            estimate = by_progress(sample, _paused_s(job, sample.at))
            if estimate is not None:
                self._left[job_id] = (job.worked_s + worked_s, estimate)
                foreseen.append(job)
        return foreseen

    def sample(self, job_id: str) -> Sample | None:
        """What the running attempt of a job last told; None before it told anything."""
        return self._samples.get(job_id)

    def forget(self, job_id: str) -> None:
        self._samples.pop(job_id, None)
        self._left.pop(job_id, None)

    def remaining(self, job: Job, whole: Estimate | None, now: float) -> Estimate | None:
        """Seconds that a job should still run, from now on: by its progress, else by what is known of it, if anything.

        whole: of what it takes from its beginning.
        """
        worked_s = served_s(job) + stint_s(job, now)
        if job.id in self._left:
            before_s, left = self._left[job.id]
            return what_is_left(left, max(0.0, worked_s - before_s))
        return None if whole is None else what_is_left(whole, worked_s)


def _paused_s(job: Job, at: float) -> float:
    """How long its newest attempt has stood still."""
    newest = job.newest
    if newest is None or newest.started_at is None:
        return 0.0
    return max(0.0, at - newest.started_at) - newest.worked_s(at)
