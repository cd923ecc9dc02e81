"""Bringing Redis in line with the disk: after a start, an outage, a loss of all its data, and now and then.

The disk is the truth. Whatever Redis says otherwise is replaced; nothing on disk is ever changed here.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

from singlepoint.jobs.broker.rq_queues import parse_rq_id, rq_id
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.world.world import Place

from .acting import RedisActs
from .seeing import Sight

log = logging.getLogger("singlepoint.scheduler")


def mend(sight: Sight, acts: RedisActs) -> None:
    """Read what changed on disk unnoticed, then mend the index and rq's queues. Raises redis.RedisError."""
    world = sight.world
    acts.index.heal()
    acts.queue.heal()
    on_disk = set(sight.store.ids())
    sight.see_changed(on_disk)
    for job_id in [known for known in world.ids() if known not in on_disk]:
        world.forget(job_id)
    if acts.index.is_complete():
        _mend_index(sight, acts, on_disk)
    else:
        acts.index.rebuild(_jobs(sight), uuid.uuid4().hex)
        log.info("index_rebuilt jobs=%d", len(on_disk))
    _mend_queues(sight, acts)


def _jobs(sight: Sight) -> Iterator[Job]:
    return (job for job_id in sight.store.ids() if (job := sight.load(job_id)) is not None)


def _mend_index(sight: Sight, acts: RedisActs, on_disk: set[str]) -> None:
    told = {row["id"]: row.get("size") for row in acts.index.summaries()}
    for job_id in on_disk:
        is_right = sight.world.job(job_id) is None if job_id not in told else told[job_id] == sight.world.size(job_id)
        if not is_right and (job := sight.load(job_id)) is not None:
            if (told.get(job_id) or 0) > job.size:
                acts.index.drop(job_id)  # a history grows, unless it was restored: then the longer one is nobody's
            acts.tell(job)
    for job_id in told.keys() - on_disk:
        if sight.store.size(job_id) == 0:  # still: it may have been submitted since we looked
            acts.index.forget(job_id)


def _mend_queues(sight: Sight, acts: RedisActs) -> None:
    """Every pending job waits in rq, every queued one can be taken, and nothing else is in either queue."""
    waiting, run = acts.queue.waiting_ids(), acts.queue.run_ids()
    should_wait, should_run = set(), set()
    for place in Place:
        for job in list(sight.world.standing(place)):
            if job.state is State.PENDING:
                name = rq_id(job.id, job.attempt + 1)
                should_wait.add(name)
                if name not in waiting:
                    acts.show_waiting(job)
            elif job.state is State.QUEUED:
                name = rq_id(job.id, job.attempt)
                should_run.add(name)
                sight.look_for(job.id, name in run)
    for left_over in (waiting - should_wait) | (run - should_run):
        ours = _parsed(left_over)
        if ours is None:
            log.warning("foreign_id_removed rq_id=%r", left_over)
            acts.queue.discard(left_over)
            continue
        job_id, attempt = ours
        is_new = sight.world.job(job_id) is None  # to us: it may have been submitted since we looked
        if not (is_new and _may_be_taken(sight.see(job_id), attempt)):
            acts.queue.withdraw(job_id, attempt)


def _parsed(name: str) -> tuple[str, int] | None:
    """(job, attempt) of an rq id of ours; None for what somebody else put into our queue."""
    try:
        return parse_rq_id(name)
    except ValueError:
        return None


def _may_be_taken(job: Job | None, attempt: int) -> bool:
    """Whether an entry of rq's stands for something, by the disk as it is now."""
    if job is None:
        return False
    waits = job.state is State.PENDING and attempt == job.attempt + 1
    return waits or (job.state is State.QUEUED and attempt == job.attempt)
