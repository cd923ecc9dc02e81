"""What a home has run, as a workload: submitted when it was, running for as long as its attempts held their cores."""

from __future__ import annotations

import contextlib

from singlepoint.jobs.errors import HistoryDamaged, NotFound
from singlepoint.jobs.host.capacity import read_capacity
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.store.home import Home
from singlepoint.jobs.store.job_store import JobStore

from .workload import Arrival, Workload


def from_histories(store: JobStore, home: Home) -> Workload:
    """Every job that ran and ended, on as many cores as the home's scheduler last had."""
    jobs = []
    for job_id in store.ids():
        with contextlib.suppress(NotFound, HistoryDamaged):
            jobs.append(store.load(job_id))
    ended = sorted((job for job in jobs if job.is_final and run_s(job) > 0), key=lambda job: job.submitted_at)
    first = ended[0].submitted_at if ended else 0.0
    capacity = read_capacity(home)
    widest = max((_cores(job) for job in ended), default=1)
    cores = max(widest, len(capacity.cores) if capacity else widest)
    return Workload("history", cores, tuple(_arrival(job, first) for job in ended))


def run_s(job: Job) -> float:
    """Seconds its attempts held their cores, from grant to end, all together; less what they had to do again."""
    ran = ((a, a.ended_at - a.dispatched_at) for a in job.attempts if a.started_at and a.ended_at)
    return sum(max(0.0, held_s - attempt.paused_s - (attempt.lost_s or 0.0)) for attempt, held_s in ran)


def _arrival(job: Job, first: float) -> Arrival:
    at = job.submitted_at - first
    return Arrival(job.id, at, run_s(job), _cores(job), run_s(job), priority=job.priority)


def _cores(job: Job) -> int:
    return max(1, -(-job.requests.cpu_millis // 1000))
