"""Who is registered with rq to take this home's attempts, and what those workers say of themselves.

Read without rq, which takes longer to load than `up` waits for them. Some may be dead: what is told here is their word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .index import text_of
from .rq_names import workers_key

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True)
class RegisteredWorker:
    """One of rq's workers: its name, and the machine and process it is."""

    name: str
    host: str
    pid: int


def ask_for_registered(home_uuid: str, pipe: redis.client.Pipeline) -> None:
    """For `read_registered`, which reads what the pipeline answers."""
    pipe.smembers(workers_key(home_uuid))


def read_registered(answer: Iterable[bytes | str]) -> frozenset[str]:
    """The keys of the workers."""
    return frozenset(entry for entry in map(text_of, answer) if entry.isprintable())


def registered_workers(connection: redis.Redis, home_uuid: str) -> list[RegisteredWorker]:
    """What the workers say of themselves; one that says nothing that can be read is left out."""
    keys = sorted(read_registered(connection.smembers(workers_key(home_uuid))))
    with connection.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, "hostname", "pid")
        said = pipe.execute(raise_on_error=False)
    found = []
    for key, answer in zip(keys, said, strict=True):
        if isinstance(answer, list) and all(answer):
            host, pid = map(text_of, answer)
            name = key.partition(":worker:")[2]
            found += [RegisteredWorker(name, host, int(pid))] if pid.isdecimal() and len(pid) < 10 else []
    return found
