"""Telling Redis what became of jobs: all that a pass of the loop moved, in one transaction.

Which of rq's queues the next attempt of a job has to stand in follows from the job alone. So a move is the difference
between the job as Redis was told of it and as it is now: what was submitted and granted room within one pass never
stands in `waiting` at all. Redis has every transaction on disk before it answers, and a pass waits for that once.

On disk it all happened before. Until `send` returns, Redis is behind, never ahead; what a crash or an outage keeps
from it, `mending` finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from singlepoint.jobs.broker.index import Index
from singlepoint.jobs.broker.registered import ask_for_registered, read_registered
from singlepoint.jobs.broker.rq_names import rq_id
from singlepoint.jobs.broker.rq_queues import DispatchQueue
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State


@dataclass
class Move:
    """told: the job as Redis has it; None when it knows nothing of it.  job: as it is now.  is_news: for the index.
    again: it has to be pushed whatever Redis has."""

    told: Job | None
    job: Job
    is_news: bool = False
    again: bool = False


class Telling:
    """Over one connection. is_in_line: whether `waiting` holds what it should, as far as we know.

    Whatever raises redis.RedisError has told nothing, or in part.
    """

    def __init__(self, index: Index, queue: DispatchQueue) -> None:
        self.index = index
        self.queue = queue
        self.is_in_line = False  # what the scheduler before us left there nobody knows
        self._moves: dict[str, Move] = {}

    def standing(self) -> tuple[bool, frozenset[str]]:
        """Whether Redis has all of the index, or is being told it, and the keys of the registered workers: one trip."""
        with self.queue.connection.pipeline(transaction=False) as pipe:
            self.index.ask_whether_at_hand(pipe)
            ask_for_registered(self.queue.home_uuid, pipe)
            at_hand, registered = pipe.execute()
        return bool(at_hand), read_registered(registered)

    def moved(self, before: Job | None, job: Job, *, is_news: bool = False, again: bool = False) -> None:
        """A job moved; `send` tells of it. before: as it was; None when Redis may know nothing of it.

        is_news: by us. Others tell the index themselves.
        """
        move = self._moves.setdefault(job.id, Move(before, job))
        if before is None:
            move.told = None
        move.job = job
        move.is_news |= is_news
        move.again |= again

    def bury(self, job_id: str, attempt: int) -> None:
        """Take an attempt whose worker died out of rq's books at once, so that rq does not look for it later."""
        self.queue.bury(job_id, attempt)

    def send(self) -> None:
        """Tell all that moved since. Redis answers what is of a wrong type: the entries concerned are gone then, and
        made anew by whoever mends."""
        moves, self._moves = self._moves, {}
        names: list[str] = []  # whose attempt each command is about
        searches: list[int] = []
        with self.queue.connection.pipeline() as pipe:
            pipe.multi()
            for move in moves.values():
                searches += self._put(move, pipe)
                names += [rq_id(move.job.id, _waiting(move.job) or move.job.attempt)] * (len(pipe) - len(names))
            if not names:
                return
            answers = pipe.execute(raise_on_error=False)
        errors = [(name, answer) for name, answer in zip(names, answers, strict=True) if isinstance(answer, Exception)]
        for name, _ in errors:
            self.queue.drop_entry(name)
        if errors:
            raise errors[0][1]
        self.is_in_line &= all(answers[search] for search in searches)

    def _put(self, move: Move, pipe: redis.client.Pipeline) -> list[int]:
        """Its commands; answers the places of those that took it out of `waiting`."""
        job, searches = move.job, []
        waited, waits = _waiting(move.told), _waiting(job)
        was_sent, is_sent = _sent(move.told), _sent(job)
        if waited is not None and waited != waits:
            searches.append(len(pipe))
            self.queue.stop_waiting(job.id, waited, pipe, forget=waited > job.attempt)
        if was_sent is not None and was_sent != is_sent and not _was_begun(job, was_sent):
            self.queue.withdraw(job.id, was_sent, pipe)
        if waits is not None and waits != waited:
            self.queue.wait(job.id, waits, pipe)
        if is_sent is not None and (move.again or is_sent != was_sent):
            reach("queue.push")
            self.queue.push(job.id, is_sent, pipe, again=move.again)
        if move.is_news:
            self.index.tell(job, ring=False, pipeline=pipe)
        return searches


def _waiting(job: Job | None) -> int | None:
    """The number of the attempt that waits to be granted room."""
    return job.attempt + 1 if job is not None and job.state is State.PENDING else None


def _sent(job: Job | None) -> int | None:
    """The number of the attempt that is on its way to a worker."""
    return job.attempt if job is not None and job.state is State.QUEUED else None


def _was_begun(job: Job, attempt: int) -> bool:
    """Whether a worker took an attempt that was on its way: then the worker sees to what rq has of it."""
    return any(one.started_at is not None for one in reversed(job.attempts) if one.number == attempt)
