"""What Redis knows of the jobs: an index of the directories, and the bell that wakes people up.

    sp:<uuid>:epoch      set when the index is complete; gone when Redis lost its data
    sp:<uuid>:jobs       hash   id -> the job's summary (JSON): what `ps` prints
    sp:<uuid>:live       hash   id -> progress of the running attempt (JSON)
    sp:<uuid>:bell       list   what the scheduler should look at, popped by it alone
    sp:<uuid>:news       channel: the id of every job that moved
    sp:<uuid>:head       what the first waiting job lacks (JSON), for the reasons of all behind it
    and rq's own keys; see `queue`.

All of it can be lost and is rebuilt from the directories. So telling Redis is allowed to fail: `tell`
answers False, and whoever rebuilds the index finds the truth on disk.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import redis

from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.lifecycle.records import Job, Sample
from singlepoint.jobs.lifecycle.summary import summary

LOOK_AT_EVERYTHING = "*"

_PUT = """
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
    local readable, row = pcall(cjson.decode, known)
    if readable and type(row) == 'table' and (tonumber(row['size']) or 0) > tonumber(ARGV[3]) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] == '1' then redis.call('HDEL', KEYS[2], ARGV[1]) end
return 1
"""
"""Puts a summary in, unless what is there was folded from more history: whoever is late must not undo what is newer.

KEYS: jobs, live.  ARGV: the job's id, its summary, bytes of history, 1 for one that has ended.
"""


class Index:
    """The index of one home, over one connection."""

    def __init__(self, connection: redis.Redis, home_uuid: str) -> None:
        self.connection = connection
        self._prefix = f"sp:{home_uuid}"

    def key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def tell(self, job: Job, *, ring: bool = True, pipeline: redis.client.Pipeline | None = None) -> bool:
        """Put a job's summary in the index, announce it and (unless told not to) wake the scheduler.

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
        except redis.RedisError:
            return False
        return True

    def _put(self, job: Job, pipe: redis.client.Pipeline) -> None:
        text = json.dumps(summary(job), separators=(",", ":"))
        pipe.eval(_PUT, 2, self.key("jobs"), self.key("live"), job.id, text, str(job.size), str(int(job.is_final)))

    def drop(self, job_id: str) -> None:
        """Take a job's summary out, whatever it was folded from, so that the next one told is put in."""
        self.connection.hdel(self.key("jobs"), job_id)

    def forget(self, job_id: str) -> None:
        """Take a removed job out of the index."""
        with self.connection.pipeline() as pipe:
            pipe.hdel(self.key("jobs"), job_id)
            pipe.hdel(self.key("live"), job_id)
            pipe.rpush(self.key("bell"), job_id)
            pipe.publish(self.key("news"), job_id)
            pipe.execute()

    def ring(self, what: str) -> bool:
        """Ask the scheduler to look at a job, or at `LOOK_AT_EVERYTHING`."""
        try:
            self.connection.rpush(self.key("bell"), what)
        except redis.RedisError:
            return False
        return True

    def wait_for_bell(self, timeout_s: float, most: int = 1000) -> list[str]:
        """Block until something rings or the time is up; all that has rung by then, in order, each once."""
        first = self.connection.blpop([self.key("bell")], timeout=timeout_s)
        if first is None:
            return []
        more = self.connection.lpop(self.key("bell"), most) or []
        return list(dict.fromkeys(_text(item) for item in [first[1], *more]))

    def is_complete(self) -> bool:
        """Whether this Redis knows all jobs; False after a wipe or on a new server."""
        return bool(self.connection.exists(self.key("epoch")))

    def rebuild(self, jobs: Iterable[Job], epoch: str) -> None:
        """Fill the index from the directories; complete only once all of it is in."""
        self.connection.delete(self.key("jobs"))  # at once: what is told from here on is newer than what we read
        with self.connection.pipeline(transaction=False) as pipe:
            for count, job in enumerate(jobs, 1):
                self._put(job, pipe)
                if count % 500 == 0:
                    pipe.execute()
            pipe.execute()
        reach("index.epoch")
        self.connection.set(self.key("epoch"), epoch)

    def report_progress(self, job_id: str, progress: dict[str, Any]) -> bool:
        try:
            self.connection.hset(self.key("live"), job_id, json.dumps(progress, separators=(",", ":")))
        except redis.RedisError:
            return False
        return True

    def summaries(self) -> list[dict[str, Any]]:
        """Every job's summary with its live progress, oldest first."""
        with self.connection.pipeline(transaction=False) as pipe:
            pipe.hvals(self.key("jobs"))
            pipe.hgetall(self.key("live"))
            rows, live = pipe.execute()
        progress = {_text(job_id): json.loads(text) for job_id, text in live.items()}
        documents = [json.loads(row) for row in rows]
        for document in documents:
            if document["state"] == "running":
                document.update(progress.get(document["id"], {}))
        return sorted(documents, key=lambda document: (document["submitted_at"], document["id"]))

    def progress(self, job_id: str) -> dict[str, Any]:
        text = self.connection.hget(self.key("live"), job_id)
        return dict(json.loads(text)) if text else {}

    def samples(self) -> dict[str, Sample]:
        """What every running attempt last told of itself, by the id of its job; what cannot be read is left out."""
        found = {}
        for job_id, text in self.connection.hgetall(self.key("live")).items():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found[_text(job_id)] = Sample.from_json(json.loads(text)["sample"])
        return found

    def publish_head(self, reason: dict[str, Any]) -> None:
        self.connection.set(self.key("head"), json.dumps(reason))

    def head(self) -> dict[str, Any]:
        text = self.connection.get(self.key("head"))
        return dict(json.loads(text)) if text else {}

    def news(self, timeout_s: float | None = None) -> Iterator[str]:
        """The ids of jobs as they move, `""` once when the subscription stands and at each timeout."""
        with self.connection.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(self.key("news"))
            channel.get_message(timeout=1.0)
            yield ""
            while True:
                message = channel.get_message(timeout=timeout_s)
                yield _text(message["data"]) if message else ""


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
