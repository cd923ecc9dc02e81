"""The only file that enqueues to rq.

Two rq queues a home: `waiting`, which no worker listens to, holds a job from submission until it is
granted room, so that `rq info` shows it; `run` is what the workers take from. An rq id is `<job>_<attempt>`.
What rq stores is ids and the one dotted path below, as JSON; rq never retries, and a second push of the
same id is harmless, because only one claim of an attempt can succeed.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import cast

import redis
from rq import worker_registration
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.queue import Queue
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.serializers import JSONSerializer

from .index import drop_of_wrong_type, text_of
from .rq_names import FUNCTION, rq_id, run_queue_name, waiting_queue_name

RESULT_TTL_S = 0
"""Nobody reads what rq keeps of an attempt that ended: the history has it."""

FAILURE_TTL_S = 10
FOREVER = -1

NEAR = 1000
"""How far from either end of `waiting` an entry is looked for."""

_TAKE_OUT = """
for _, from in ipairs({1, -1}) do
    if redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', from, 'MAXLEN', ARGV[2]) then
        return redis.call('LREM', KEYS[1], from, ARGV[1])
    end
end
return 0
"""
"""Takes an entry out of a list, from the end that it is near to; 0 when it is near to none.

KEYS: the list.  ARGV: the entry, and how far to look.
"""


_REGISTRIES = (
    StartedJobRegistry,
    FinishedJobRegistry,
    FailedJobRegistry,
    DeferredJobRegistry,
    ScheduledJobRegistry,
    CanceledJobRegistry,
)


class DispatchQueue:
    """Puts attempts where rq workers find them."""

    def __init__(self, connection: redis.Redis, home_uuid: str) -> None:
        self.connection = connection
        self.home_uuid = home_uuid
        self.run = Queue(run_queue_name(home_uuid), connection=connection, serializer=JSONSerializer)
        self.waiting = Queue(waiting_queue_name(home_uuid), connection=connection, serializer=JSONSerializer)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[redis.client.Pipeline]:
        """Commands that are told together once the block is left."""
        with self.connection.pipeline() as pipe:
            pipe.multi()  # first, or rq opens the transaction itself and finds commands before it
            yield pipe
            pipe.execute()

    def wait(self, job_id: str, attempt: int, pipe: redis.client.Pipeline) -> None:
        """Show `attempt`, which has not been granted room, as waiting."""
        self._enqueue(self.waiting, job_id, attempt, pipe)

    def push(self, job_id: str, attempt: int, pipe: redis.client.Pipeline, *, again: bool = False) -> None:
        """Put an attempt where a worker takes it. again: it may stand there already."""
        if again:
            self._take_out_of_run(rq_id(job_id, attempt), pipe)
        self._enqueue(self.run, job_id, attempt, pipe)

    def stop_waiting(self, job_id: str, attempt: int, pipe: redis.client.Pipeline, *, forget: bool = False) -> None:
        """Take an attempt out of `waiting`, where it stands near an end of it; the answer is whether it did.

        One that stands further inside is left over until the list is turned over: to search it all would take the
        longer the more jobs wait. forget: rq keeps nothing of the attempt any more.
        """
        name = rq_id(job_id, attempt)
        pipe.eval(_TAKE_OUT, 1, self.waiting.key, name, str(NEAR))
        if forget:
            pipe.delete(RqJob.key_for(name))

    def _take_out_of_run(self, name: str, pipe: redis.client.Pipeline) -> None:
        """What is on its way to a worker is as much as the budget has room for: short, whatever waits."""
        pipe.lrem(self.run.key, 0, name)
        pipe.lrem(self.run.intermediate_queue_key, 0, name)

    def _enqueue(self, queue: Queue, job_id: str, attempt: int, pipe: redis.client.Pipeline) -> None:
        job = RqJob.create(
            FUNCTION,
            args=[job_id, attempt],
            id=rq_id(job_id, attempt),
            origin=queue.name,
            connection=self.connection,
            serializer=JSONSerializer,
            timeout=FOREVER,
            result_ttl=RESULT_TTL_S,
            failure_ttl=FAILURE_TTL_S,
            status=JobStatus.QUEUED,
            description=f"{job_id} attempt {attempt}",
        )
        queue.enqueue_job(job, pipeline=pipe)

    def withdraw(self, job_id: str, attempt: int, pipe: redis.client.Pipeline) -> None:
        """Take an attempt that no worker has begun out of `run`, with what rq kept of it."""
        name = rq_id(job_id, attempt)
        self._take_out_of_run(name, pipe)
        pipe.delete(RqJob.key_for(name))

    def bury(self, job_id: str, attempt: int) -> None:
        """Take an attempt whose worker died out of every queue and registry, with all that rq kept of it."""
        name = rq_id(job_id, attempt)
        with self.transaction() as pipe:
            self._take_out_of_run(name, pipe)
        try:
            RqJob.fetch(name, connection=self.connection, serializer=JSONSerializer).delete(remove_from_queue=False)
        except Exception:  # noqa: BLE001 - rq has several errors for a job that is gone or none, and gone is what we want
            self.drop_entry(name)

    def begin_turn(self) -> str:
        """Put a mark at the end of `waiting`: once it comes first, all that stood there has been turned over, whatever
        was put in or taken out meanwhile."""
        mark = f"turn:{uuid.uuid4().hex}"
        self.connection.rpush(self.waiting.key, mark)
        return mark

    def turn_over(self, most: int, belongs: Callable[[str], bool], mark: str) -> tuple[list[str], bool]:
        """Move the first entries of `waiting` to its end, but for those that do not belong there: which those were, and
        whether the turn is complete.

        Only the scheduler takes from there, so that nothing comes between the reading and the moving.
        """
        found = cast("list[bytes]", self.connection.lrange(self.waiting.key, 0, most - 1))
        meets_mark = mark.encode() in found
        entries = found[: found.index(mark.encode())] if meets_mark else found
        kept = [entry for entry in entries if belongs(text_of(entry))]
        with self.transaction() as pipe:
            pipe.ltrim(self.waiting.key, len(entries) + meets_mark, -1)
            if kept:
                pipe.rpush(self.waiting.key, *kept)
        stayed = set(kept)
        return [text_of(entry) for entry in entries if entry not in stayed], meets_mark or not found

    def waiting_count(self) -> int:
        return int(self.connection.llen(self.waiting.key))

    def discard(self, foreign: str) -> None:
        """Take what somebody else put there out of `run`, and touch nothing else of theirs."""
        self.connection.lrem(self.run.key, 0, foreign.encode(errors="surrogateescape"))  # type: ignore[arg-type]

    def heal(self) -> None:
        """Drop every key of rq's that our queues need and that is of a wrong type, whoever put it there."""
        types = {Queue.redis_queues_keys: "set", worker_registration.REDIS_WORKER_KEYS: "set"}
        for queue in (self.waiting, self.run):
            types |= {queue.key: "list", queue.intermediate_queue_key: "list"}
            types[worker_registration.WORKERS_BY_QUEUE_KEY % queue.name] = "set"
            types |= {registry.key_template.format(queue.name): "zset" for registry in _REGISTRIES}
        drop_of_wrong_type(self.connection, types)

    def drop_entry(self, name: str) -> None:
        """What rq keeps of an attempt turned out to be none: it is made anew when it is queued again."""
        self.connection.delete(RqJob.key_for(name))

    def run_ids(self) -> set[str]:
        """The rq ids that a worker may still take; what is no text keeps its bytes, and is none of ours."""
        return {text_of(entry) for entry in self.connection.lrange(self.run.key, 0, -1)}
