"""Bringing the world and Redis in line with the disk: after a start, an outage, a loss of all data, and now and then.

The disk is the truth. Whatever Redis says otherwise is replaced; on disk only the ledger is completed: an end whose
line a crash kept from being written. Of jobs that have ended nothing is read but that line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.errors import SinglepointError
from singlepoint.jobs.host.free_memory import give_back_free_memory
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.going_on import LedgerSeen
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.seeing import Sight
from singlepoint.scheduler.runtime.telling import Telling
from singlepoint.scheduler.world.places import Place

from .duties import Pace
from .lining_up import bring_in_line, going_on, moved_in_slices, parsed

log = logging.getLogger("singlepoint.scheduler")


@dataclass(frozen=True)
class Mending(Pace):
    """How much is gone through in a slice: entries of the directory of all jobs, histories looked at, rows told to
    Redis or read from it, jobs looked at in memory.

    named_for_s: a name in `going-on/` stays that long at least, though nobody goes on by it: a submit takes less.
    """

    entries_a_slice: int = 5000
    histories_a_slice: int = 50
    rows_a_slice: int = 50
    named_for_s: float = 600.0


MENDING = Mending()


def reach_redis(sight: Sight, telling: Telling) -> None:
    """Have in Redis what workers go by; the rest is `fill`'s and `look_through`'s. Raises redis.RedisError."""
    telling.index.heal()
    telling.queue.heal()
    _mend_run_queue(sight, telling)


def look_through(sight: Sight, telling: Telling, settings: Mending = MENDING) -> Iterator[None]:
    """Find what changed on disk unnoticed, then have all of that in Redis, and nothing else; in slices."""
    ledger = sight.store.going_on.ledger_seen()
    unlisted = yield from unlisted_slices(sight.store, settings.entries_a_slice)
    _say_who_goes_on(sight, unlisted, ledger, settings)
    yield
    for count, job_id in enumerate(unlisted, 1):
        see_unlisted(sight, job_id)
        if count % settings.histories_a_slice == 0:
            yield
    for count, job_id in enumerate(set(sight.world.ids()) - unlisted, 1):
        sight.see(job_id)  # it has ended, or is gone
        if count % settings.histories_a_slice == 0:
            yield
    yield
    reach_redis(sight, telling)
    yield from _mend_index(sight, telling, settings)
    yield from bring_in_line(sight, telling)
    give_back_free_memory()  # lists of all jobs that there are


def _say_who_goes_on(sight: Sight, unlisted: set[str], ledger: LedgerSeen, settings: Mending) -> None:
    """For whoever asks the disk; without it they list all jobs themselves, so a disk that is full does no harm."""
    try:
        sight.store.going_on.bring_in_line(unlisted, ledger, sight.world.now - settings.named_for_s)
    except (SinglepointError, OSError) as error:
        log.warning("going_on_unwritten error=%r", str(error))


def unlisted_slices(store: JobStore, entries_a_slice: int) -> Generator[None, None, set[str]]:
    """`JobStore.unlisted_ids` by all directories, in slices; the answer is the generator's."""
    ended, found = (yield from store.catalogue.ids()), set[str]()
    for count, entry in enumerate(os.scandir(store.home.jobs), 1):
        if entry.name not in ended and store.exists(entry.name):
            found.add(entry.name)
        if count % entries_a_slice == 0:
            yield
    return found


def see_unlisted(sight: Sight, job_id: str) -> None:
    """A job that the ledger does not list: it goes on, or nobody noted its end."""
    if sight.world.size(job_id) != sight.size(job_id):
        job = sight.see(job_id)
        if job is not None and job.is_final:
            sight.store.note_end(job_id)


def _mend_index(sight: Sight, telling: Telling, settings: Mending) -> Iterator[None]:
    """Every job that goes on is told of as it is, and no other."""
    index, seen = telling.index, set[str]()
    for rows in index.slices(settings.rows_a_slice):
        for job_id, size in rows.items():
            seen.add(job_id)
            job = sight.world.job(job_id)
            if job is None:
                _drop_row(sight, index, job_id)
            elif size != job.size:
                if size > job.size:
                    index.drop(job_id)  # a history grows, unless it was restored: then the longer one is nobody's
                telling.moved(job, job, is_news=True)
        yield
    unknown = [job for job in going_on(sight) if job.id not in seen]
    yield from moved_in_slices(telling, ((job, job) for job in unknown), settings.rows_a_slice, is_news=True)


def _drop_row(sight: Sight, index: Index, job_id: str) -> None:
    seen = sight.see(job_id)  # it may have been submitted since we looked
    if seen is None and sight.store.size(job_id) == 0:
        index.forget(job_id)
    elif seen is None or seen.is_final:
        index.drop(job_id)


def _mend_run_queue(sight: Sight, telling: Telling) -> None:
    """Every dispatched attempt can be taken, and nothing else can. As short as what the budget has room for."""
    queue, should_run = telling.queue, set()
    run = queue.run_ids()
    for job in list(sight.world.standing(Place.QUEUED)):
        name = rq_id(job.id, job.attempt)
        should_run.add(name)
        sight.look_for(job.id, name in run)
    for left_over in run - should_run:
        ours = parsed(left_over)
        if ours is None:
            log.warning("foreign_id_removed rq_id=%r", left_over)
            queue.discard(left_over)
            continue
        seen = sight.world.job(ours[0]) or sight.see(ours[0])  # it may have been submitted since we looked
        if seen is None or seen.state is not State.QUEUED or seen.attempt != ours[1]:
            with queue.transaction() as pipe:
                queue.withdraw(*ours, pipe)
