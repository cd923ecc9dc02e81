"""What Redis knows of the jobs: an index of the directories, and the bell that wakes people up.

    sp:<uuid>:epoch      set when the index is complete; gone when Redis lost its data
    sp:<uuid>:filling    set while it is being filled; by whom
    sp:<uuid>:jobs       hash   id -> summary (JSON) of each job that has not ended: what `ps` prints
    sp:<uuid>:ended:<id> bytes of history of one that has; for a minute
    sp:<uuid>:live       hash   id -> progress of the running attempt (JSON)
    sp:<uuid>:bell       list   what the scheduler should look at, popped by it alone
    sp:<uuid>:news       channel: the id of every job that moved
    sp:<uuid>:told       what the scheduler last said of those that wait (JSON)
    sp:<uuid>:scene      the line as the scheduler last saw it, to be played forward by whoever asks (JSON)
    and rq's own keys; see `rq_queues`.

All of it can be lost and is rebuilt from the directories. So telling Redis is allowed to fail: `tell`
answers False, and whoever rebuilds the index finds the truth on disk. Nor is what stands there trusted: whoever
finds something that we cannot have written takes the epoch away, and the index is built anew.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.lifecycle.reasons import Told
from singlepoint.jobs.lifecycle.records import Job, Sample, is_job_id
from singlepoint.jobs.lifecycle.summary import read_progress, read_summary, summary

from . import redis_errors

if TYPE_CHECKING:
    import redis


LOOK_AT_EVERYTHING = "*"

_TYPES = {
    **dict.fromkeys(("epoch", "filling", "told", "scene"), "string"),
    "jobs": "hash",
    "live": "hash",
    "bell": "list",
}

_PUT = """
local size, ended = tonumber(ARGV[3]), redis.pcall('GET', KEYS[3])
if type(ended) == 'string' and (tonumber(ended) or 0) > size then return 0 end
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
    local readable, row = pcall(cjson.decode, known)
    if readable and type(row) == 'table' and (tonumber(row['size']) or 0) > size then return 0 end
end
if ARGV[4] == '1' then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('HDEL', KEYS[2], ARGV[1])
    redis.call('SET', KEYS[3], size, 'EX', ARGV[5])
else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 1
"""
"""Puts a summary in, or takes that of a job that has ended out, unless what is there, or ended a moment ago, was folded
from more history: whoever is late must not undo what is newer.

KEYS: jobs, live, ended:<id>.  ARGV: the job's id, its summary, bytes of history, 1 for one that has ended, and for how
many seconds to remember that.
"""

_FILLED = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
"""
"""KEYS: filling, epoch.  ARGV: the mark of this filling."""

_UNREADABLE: Mapping[bytes | str, bytes | str] = {b"": b""}
"""What a key of another type is read as."""

TOLD_TOGETHER = 100

ENDED_S = 60
"""How long a tell may be late: a process that was stopped for longer is mended after."""


class Index:
    """The index of one home, over one connection."""

    def __init__(self, connection: redis.Redis, home_uuid: str) -> None:
        self.connection = connection
        self._prefix = f"sp:{home_uuid}"

    def key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def tell(self, job: Job, *, ring: bool = True, pipeline: redis.client.Pipeline | None = None) -> bool:
        """Put a job's summary in the index, or take it out when it has ended; announce that, and wake the scheduler.

        A summary of a longer history stays: two who tell of the same job may overtake each other.
        Answers False when Redis is away: nothing is lost, the index is rebuilt from the directories.
        """
        try:
            reach("index.tell")
            pipe = pipeline if pipeline is not None else self.connection.pipeline()
            self._put(job, pipe)
            if ring:
                pipe.rpush(self.key("bell"), job.id)
            pipe.publish(self.key("news"), job.id)
            if pipeline is None:
                pipe.execute()
        except redis_errors.RedisError:
            return False
        return True

    @contextlib.contextmanager
    def together(self) -> Iterator[Callable[[Job], None]]:
        """Tell of many jobs at the price of few: what is told within goes by the hundred, and the rest at the end. Any
        thread may tell. While Redis is away nothing is lost, as with `tell`."""
        waiting: list[Job] = []
        lock = threading.Lock()

        def send() -> None:
            with self.connection.pipeline(transaction=False) as pipe:
                for job in waiting:
                    self.tell(job, pipeline=pipe)
                waiting.clear()
                try:
                    pipe.execute()
                except redis_errors.RedisError:
                    return

        def tell(job: Job) -> None:
            with lock:
                waiting.append(job)
                if len(waiting) == TOLD_TOGETHER:
                    send()

        try:
            yield tell
        finally:
            send()

    def _put(self, job: Job, pipe: redis.client.Pipeline) -> None:
        text = json.dumps(summary(job), separators=(",", ":"))
        keys = (self.key("jobs"), self.key("live"), self.key(f"ended:{job.id}"))
        pipe.eval(_PUT, len(keys), *keys, job.id, text, str(job.size), str(int(job.is_final)), str(ENDED_S))

    def drop(self, job_id: str) -> None:
        """Take a job's summary out, whatever it was folded from, so that the next one told is put in."""
        with self.connection.pipeline() as pipe:
            pipe.hdel(self.key("jobs"), job_id)
            pipe.delete(self.key(f"ended:{job_id}"))
            pipe.execute()

    def forget(self, job_id: str) -> None:
        """Take a removed job out of the index."""
        with self.connection.pipeline() as pipe:
            pipe.hdel(self.key("jobs"), job_id)
            pipe.hdel(self.key("live"), job_id)
            pipe.publish(self.key("news"), job_id)
            pipe.execute()
        self.ring(job_id)  # by itself: a Redis that is full takes no bell, but everything out

    def ring(self, what: str, pipeline: redis.client.Pipeline | None = None) -> bool:
        """Ask the scheduler to look at a job, or at `LOOK_AT_EVERYTHING`."""
        try:
            (self.connection if pipeline is None else pipeline).rpush(self.key("bell"), what)
        except redis_errors.RedisError:
            return False
        return True

    def heal(self) -> None:
        """Drop what is of a wrong type, whoever put it there; then the index is not complete any more."""
        if drop_of_wrong_type(self.connection, {self.key(name): kind for name, kind in _TYPES.items()}):
            self.spoilt()

    def spoilt(self) -> None:
        """Something that we cannot have written stands in the index: it has to be built anew."""
        self.connection.delete(self.key("epoch"), self.key("filling"))

    def wait_for_bell(self, timeout_s: float, most: int = 1000) -> list[str]:
        """Block until something rings or the time is up; all that has rung by then, in order, each once."""
        first = self.connection.blpop([self.key("bell")], timeout=timeout_s)
        if first is None:
            return []
        more = self.connection.lpop(self.key("bell"), most) or []
        return list(dict.fromkeys(text_of(item) for item in [first[1], *more]))

    def is_complete(self) -> bool:
        """Whether this Redis knows all jobs; False after a wipe or on a new server."""
        return bool(self.connection.exists(self.key("epoch")))

    def ask_whether_at_hand(self, pipe: redis.client.Pipeline) -> None:
        """Whether it is complete or being filled; the answer is the pipeline's."""
        pipe.exists(self.key("epoch"), self.key("filling"))

    def begin_filling(self) -> str:
        """Empty it: whoever calls this puts all jobs in that go on, and then says `filled`. Answers a mark for that."""
        mark = uuid.uuid4().hex
        with self.connection.pipeline() as pipe:
            # At once: what is told from here on is newer than what we read.
            pipe.delete(*map(self.key, ("epoch", "jobs", "live", "told", "scene")))
            pipe.set(self.key("filling"), mark)
            pipe.execute()
        return mark

    def put(self, jobs: Iterable[Job]) -> None:
        """Put their summaries in, where they are newer than what is there; nobody is woken."""
        with self.connection.pipeline(transaction=False) as pipe:
            for job in jobs:
                self._put(job, pipe)
            pipe.execute()

    def filled(self, mark: str) -> bool:
        """It is complete from now on; unless what was put in since the mark was lost meanwhile, which is the answer."""
        reach("index.epoch")
        return bool(self.connection.eval(_FILLED, 2, self.key("filling"), self.key("epoch"), mark))

    def report_progress(self, job_id: str, progress: dict[str, Any]) -> bool:
        try:
            self.connection.hset(self.key("live"), job_id, json.dumps(progress, separators=(",", ":")))
        except redis_errors.RedisError:
            return False
        return True

    def summaries(self) -> list[dict[str, Any]]:
        """The summary of each job that has not ended, with its live progress, oldest first.

        What cannot be read is left out, and the index is not complete from then on.
        """
        told, live = self._hash("jobs", read_summary), self._hash("live", read_progress)
        rows = [row | (live.get(job_id, {}) if row["state"] == "running" else {}) for job_id, row in told.items()]
        return sorted(rows, key=lambda row: (row["submitted_at"], row["id"]))

    def slices(self, about: int) -> Iterator[dict[str, int]]:
        """Of each job that is told of, how much history that was folded from, some of them at a time.

        What cannot be read is left out, and the index is not complete from then on.
        """
        cursor = 0
        while True:
            held: Any
            try:
                cursor, held = self.connection.hscan(self.key("jobs"), cursor, count=about)
            except redis_errors.ResponseError:
                cursor, held = 0, _UNREADABLE
            yield {job_id: row.get("size") or 0 for job_id, row in self._read(held, read_summary).items()}
            if cursor == 0:
                return

    def progress(self, job_id: str) -> dict[str, Any]:
        """What a running job's attempt last told of itself; empty when that is nothing, or nothing that can be read."""
        try:
            content = self.connection.hget(self.key("live"), job_id)
            return read_progress(content) if content else {}
        except (Malformed, redis_errors.ResponseError):
            self.spoilt()
            return {}

    def samples(self) -> dict[str, Sample]:
        """What every running attempt last told of itself, by the id of its job; what cannot be read is left out."""
        found = {}
        for job_id, progress in self._hash("live", read_progress).items():
            with contextlib.suppress(Malformed):
                found[job_id] = Sample.from_json(documents.mapping(progress, "sample"))
        return found

    def _hash(self, name: str, read: Callable[[bytes | str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """What stands in a hash by the id of its job, as far as it can be read."""
        try:
            held: Any = self.connection.hgetall(self.key(name))
        except redis_errors.ResponseError:
            held = _UNREADABLE
        return self._read(held, read)

    def _read(
        self, held: Mapping[bytes | str, bytes | str], read: Callable[[bytes | str], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        found, unreadable = {}, False
        for field, content in held.items():
            try:
                row = read(content)
            except Malformed:
                unreadable = True
                continue
            job_id = text_of(field)
            if is_job_id(job_id) and row.get("id", job_id) == job_id:
                found[job_id] = row
            else:
                unreadable = True
        if unreadable:
            self.spoilt()
        return found

    def publish_told(self, told: Told) -> None:
        self.connection.set(self.key("told"), json.dumps(told.to_json()))

    def told(self) -> Told:
        """What the scheduler last said of those that wait."""
        try:
            content = self.connection.get(self.key("told"))
            return Told.from_json(documents.parse_object(content)) if content else Told()
        except (Malformed, redis_errors.ResponseError):
            self.spoilt()
            return Told()

    def publish_scene(self, document: Mapping[str, Any]) -> None:
        self.connection.set(self.key("scene"), json.dumps(document, separators=(",", ":")))

    def scene(self) -> dict[str, Any] | None:
        """The document that was published last; None where none was, or none that can be read."""
        try:
            content = self.connection.get(self.key("scene"))
            return documents.parse_object(content) if content else None
        except (Malformed, redis_errors.ResponseError):
            self.spoilt()
            return None

    def news(self, timeout_s: float | None = None) -> Iterator[str]:
        """The ids of jobs as they move, `""` once when the subscription stands and at each timeout."""
        with self.connection.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(self.key("news"))
            channel.get_message(timeout=1.0)
            yield ""
            while True:
                message = channel.get_message(timeout=timeout_s)
                yield text_of(message["data"]) if message else ""


def text_of(value: bytes | str) -> str:
    """What Redis holds as text; what is none keeps its bytes (surrogateescape), and is no id of ours."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def drop_of_wrong_type(connection: redis.Redis, types: Mapping[str, str]) -> list[str]:
    """Delete the keys that are there and of another type than they should be; which they were."""
    with connection.pipeline(transaction=False) as pipe:
        for key in types:
            pipe.type(key)
        found = [text_of(kind) for kind in pipe.execute()]
    wrong = [key for key, kind in zip(types, found, strict=True) if kind not in ("none", types[key])]
    if wrong:
        connection.delete(*wrong)
        import logging

        logging.getLogger("singlepoint.broker").warning("key_of_wrong_type_dropped keys=%s", ",".join(wrong))
    return wrong
