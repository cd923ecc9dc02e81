"""Bringing the world and Redis in line with the disk: after a start, an outage, a loss of all data, and now and then.

The disk is the truth. Whatever Redis says otherwise is replaced; on disk only the ledger is completed: an end whose
line a crash kept from being written. Of jobs that have ended nothing is read but that line.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Generator, Iterator

from singlepoint.jobs.broker.rq_queues import parse_rq_id, rq_id
from singlepoint.jobs.ledger.catalogue import id_of
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.world.places import Place

from .acting import RedisActs
from .seeing import Sight

log = logging.getLogger("singlepoint.scheduler")

ENTRIES_A_SLICE = 5000
JOBS_A_SLICE = 50


def mend_redis(sight: Sight, acts: RedisActs) -> None:
    """Have in Redis what the world knows, and nothing else. Raises redis.RedisError."""
    acts.index.heal()
    acts.queue.heal()
    if acts.index.is_complete():
        _mend_index(sight, acts)
    else:
        acts.index.rebuild(_going_on(sight), uuid.uuid4().hex)
        log.info("index_rebuilt jobs=%d", sum(1 for _ in sight.world.ids()))
    _mend_queues(sight, acts)


def look_through(sight: Sight, acts: RedisActs) -> Iterator[None]:
    """Find what changed on disk unnoticed, in slices; then `mend_redis`."""
    unlisted = yield from unlisted_slices(sight.store)
    for count, job_id in enumerate(unlisted, 1):
        see_unlisted(sight, job_id)
        if count % JOBS_A_SLICE == 0:
            yield
    for count, job_id in enumerate(set(sight.world.ids()) - unlisted, 1):
        sight.see(job_id)  # it has ended, or is gone
        if count % JOBS_A_SLICE == 0:
            yield
    yield
    mend_redis(sight, acts)


def unlisted_slices(store: JobStore) -> Generator[None, None, set[str]]:
    """`JobStore.unlisted_ids`, in slices; the answer is the generator's."""
    lines = yield from store.catalogue.slices()
    ended, found = set[str](), set[str]()
    for begin in range(0, len(lines), ENTRIES_A_SLICE):
        ended.update(map(id_of, lines[begin : begin + ENTRIES_A_SLICE]))
        yield
    for count, entry in enumerate(os.scandir(store.home.jobs), 1):
        if entry.name not in ended and store.exists(entry.name):
            found.add(entry.name)
        if count % ENTRIES_A_SLICE == 0:
            yield
    return found


def see_unlisted(sight: Sight, job_id: str) -> None:
    """A job that the ledger does not list: it goes on, or nobody noted its end."""
    if sight.world.size(job_id) != sight.size(job_id):
        job = sight.see(job_id)
        if job is not None and job.is_final:
            sight.store.note_end(job_id)


def _going_on(sight: Sight) -> Iterator[Job]:
    return (job for job_id in sight.world.ids() if (job := sight.world.job(job_id)) is not None)


def _mend_index(sight: Sight, acts: RedisActs) -> None:
    told = {row["id"]: row.get("size") for row in acts.index.summaries()}
    for job in list(_going_on(sight)):
        if told.get(job.id) != job.size:
            if (told.get(job.id) or 0) > job.size:
                acts.index.drop(job.id)  # a history grows, unless it was restored: then the longer one is nobody's
            acts.tell(job)
    for job_id in told.keys() - set(sight.world.ids()):
        seen = sight.see(job_id)  # it may have been submitted since we looked
        if seen is None and sight.store.size(job_id) == 0:
            acts.index.forget(job_id)
        elif seen is None or seen.is_final:
            acts.index.drop(job_id)


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
