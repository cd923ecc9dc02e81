"""A job as a task that waits or runs, and as a holding: what `Books` keeps of it. Pure."""

from __future__ import annotations

import math

from singlepoint.jobs.lifecycle.records import Job, Resources, Terms
from singlepoint.jobs.lifecycle.states import Ask, State

from .job_times import save_s, served_s, stint_s
from .learned.experience import Estimate
from .places import Place
from .tasks import NOTHING, Holding, Task

RESTART_S = 0.5
"""What taking work up again costs besides the save: a process starts, and reads its checkpoint and its data."""


def task_of(job: Job, place: Place, need: Resources, since: float, left: Estimate | None, now: float) -> Task:
    """need: what its dispatch takes.  since: from when on its waiting counts.  left: what it should still run."""
    ran_s = stint_s(job, now)
    return Task(
        id=job.id,
        need=Resources(cpu_millis=need.cpu_millis) if place is Place.RESUMING else need,
        submitted_at=job.submitted_at,
        since=since,
        attempt=job.attempt,
        priority=job.priority,
        project=job.project,
        served_s=served_s(job),
        expected_s=None if left is None else ran_s + left.median_s,
        longest_s=math.inf if left is None else ran_s + left.high_s,
        gives_way=job.preemptible,
        switch_s=save_s(job) + RESTART_S,
        pauses=place is Place.RUNNING,
        paused=place is Place.RESUMING,
    )


def holding_of(job: Job, task: Task, terms: Terms, since: float) -> Holding:
    """What its newest attempt holds by these terms. since: when its stint began."""
    return Holding(
        task=task,
        granted=terms.resources,
        cores=terms.cores,
        since=since,
        begun=job.state is not State.QUEUED,
        leaving=_leaving(job, terms.resources),
        units=terms.units,
    )


def is_to_end(job: Job) -> bool:
    """Whether its attempt was asked to hand back all that it holds: then it wants nothing any more."""
    return Ask.PREEMPT in job.asks or Ask.CANCEL in job.asks


def _leaving(job: Job, granted: Resources) -> Resources:
    """What of its grant a job is about to give back."""
    if job.state is State.PENDING or is_to_end(job):
        return granted
    return Resources(granted.cpu_millis) if Ask.PAUSE in job.asks else NOTHING
