"""What rq shows as waiting: every pending job once, and nothing else.

Whoever leaves the middle of a long line is not searched for: that would take the longer the more jobs wait. What is
left over so is a doubt about the line, and where there is one the line is turned over, in slices: soon after, by this
duty. Nobody's work depends on it; it is what rq's own tools show.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from singlepoint.jobs.broker.rq_names import parse_rq_id, rq_id
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.scheduler.runtime.seeing import Sight
from singlepoint.scheduler.runtime.telling import Telling

from .duties import Pace

log = logging.getLogger("singlepoint.scheduler")


@dataclass(frozen=True)
class LiningUp(Pace):
    """How much is gone through in a slice: entries told to Redis or read from it, jobs looked at in memory."""

    every_s: float = 1.0
    share: float = 0.1
    first_s: float = 1.0
    rows_a_slice: int = 50
    jobs_a_slice: int = 2000


LINING_UP = LiningUp()


def line_up(sight: Sight, telling: Telling, settings: LiningUp = LINING_UP) -> Iterator[None]:
    """Bring the line in order, where anything is known to be left over in it."""
    if not telling.is_in_line:
        yield from bring_in_line(sight, telling, settings)


def bring_in_line(sight: Sight, telling: Telling, settings: LiningUp = LINING_UP) -> Iterator[None]:
    """Bring the line in order, where there is a doubt: something is left over, or it is not as long as it should be."""
    should_wait = {}
    for count, job in enumerate(list(going_on(sight)), 1):
        if job.state is State.PENDING:
            should_wait[rq_id(job.id, job.attempt + 1)] = job
        if count % settings.jobs_a_slice == 0:
            yield
    length = telling.queue.waiting_count()
    if telling.is_in_line and length == len(should_wait):
        return
    telling.is_in_line, seen = True, None  # from here on: what leaves it meanwhile may have been turned over by then
    try:
        seen = yield from _turned_over(sight, telling, length, settings.rows_a_slice)
    finally:
        telling.is_in_line &= seen is not None
    if seen is not None:
        left_out = ((None, job) for name, job in should_wait.items() if name not in seen and _waits(sight, name))
        yield from moved_in_slices(telling, left_out, settings.rows_a_slice)


def going_on(sight: Sight) -> Iterator[Job]:
    return (job for job_id in sight.world.ids() if (job := sight.world.job(job_id)) is not None)


def moved_in_slices(
    telling: Telling, moves: Iterable[tuple[Job | None, Job]], a_slice: int, *, is_news: bool = False
) -> Iterator[None]:
    """Tell of many at once, some at a time. moves: a job as Redis was told of it, and as it is."""
    for count, (before, job) in enumerate(moves, 1):
        telling.moved(before, job, is_news=is_news)
        if count % a_slice == 0:
            telling.send()
            yield


def _turned_over(sight: Sight, telling: Telling, length: int, rows: int) -> Generator[None, None, set[str] | None]:
    """Take out what does not wait there; what does. None when somebody took the mark away: another time."""
    seen: set[str] = set()

    def belongs(name: str) -> bool:
        first = name not in seen and _waits(sight, name)
        seen.add(name)
        return first

    mark = telling.queue.begin_turn()
    for _ in range(2 + 2 * length // rows):
        left_overs, is_complete = telling.queue.turn_over(rows, belongs, mark)
        for left_over in left_overs:
            _forget(sight, telling, left_over)
        if is_complete:
            return seen
        yield
    return None


def _waits(sight: Sight, name: str) -> bool:
    """Whether this is the attempt that a pending job waits for room for."""
    ours = parsed(name)
    job = sight.world.job(ours[0]) if ours is not None else None
    return ours is not None and job is not None and job.state is State.PENDING and ours[1] == job.attempt + 1


def _forget(sight: Sight, telling: Telling, name: str) -> None:
    """What rq keeps of an entry that waited for nothing goes too, unless the attempt is on its way or under way."""
    ours = parsed(name)
    if ours is None:
        log.warning("foreign_id_removed rq_id=%r", name)
        return
    job = sight.world.job(ours[0])
    if job is None or ours[1] not in (job.attempt, job.attempt + 1):
        telling.queue.drop_entry(name)


def parsed(name: str) -> tuple[str, int] | None:
    """(job, attempt) of an rq id of ours; None for what somebody else put into our queue."""
    try:
        return parse_rq_id(name)
    except ValueError:
        return None
